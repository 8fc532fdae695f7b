/* ---- net/arch.c: networks by name ----------------------------------------------------------------- */

/* A convolution in one line. pad -1: same. */
ITP_FN interp_tensor itp_arch_conv(interp_net *net, interp_tensor x, int channels, int kernel,
                                   int stride, int pad, int groups, bool bias)
{
    interp_conv2d_desc d;
    memset(&d, 0, sizeof d);
    d.channels = channels;
    d.kernel[0] = kernel;
    d.stride[0] = stride;
    d.same = pad < 0;
    for (int i = 0; i < 4; i++) d.pad[i] = pad < 0 ? 0 : pad;
    d.groups = groups;
    d.no_bias = !bias;
    return interp_conv2d(net, x, &d);
}

/* Pooling; a window over an image that has become less than two pixels high or wide is left out.
   kernel 0: a global one. */
ITP_FN interp_tensor itp_arch_pool(interp_net *net, interp_tensor x, interp_pool kind, int kernel,
                                   int stride, int pad)
{
    interp_pool2d_desc d;
    const interp_shape *s = x ? itp_tensor_shape(net, x) : NULL;
    if (s && kernel && (s->dim[2] < 2 || s->dim[3] < 2)) return x;
    memset(&d, 0, sizeof d);
    d.kind = kind;
    d.kernel[0] = kernel;
    d.stride[0] = stride;
    for (int i = 0; i < 4; i++) d.pad[i] = pad;
    return interp_pool2d(net, x, &d);
}

ITP_FN interp_tensor itp_bn_relu(interp_net *net, interp_tensor x)
{
    return interp_relu(net, interp_batch_norm(net, x, NULL));
}

ITP_FN interp_tensor itp_last_dense(interp_net *net, interp_tensor x, int n_classes)
{
    interp_dense_desc d;
    memset(&d, 0, sizeof d);
    d.init = INTERP_GLOROT_UNIFORM;
    return interp_dense(net, x, n_classes, &d);
}

ITP_FN interp_tensor itp_arch_linear(interp_net *net, interp_tensor x, int n_classes)
{
    return itp_last_dense(net, interp_flatten(net, x), n_classes);
}

ITP_FN interp_tensor itp_arch_mlp(interp_net *net, interp_tensor x, int n_classes)
{
    x = interp_relu(net, interp_dense(net, interp_flatten(net, x), 64, NULL));
    return itp_last_dense(net, x, n_classes);
}

enum { ITP_ARCH_WIDTHS = 32 };

/* "784-100-50-10" as numbers; how many, 0 when they are none. */
ITP_FN int itp_arch_numbers(const char *c, int width[ITP_ARCH_WIDTHS])
{
    for (int n = 0; n < ITP_ARCH_WIDTHS;) {
        long w = 0;
        int digits = 0;
        for (; *c >= '0' && *c <= '9' && digits < 9; c++, digits++) w = w * 10 + (*c - '0');
        if (!digits || w < 1 || w > 1 << 24 || (*c && *c != '-')) return 0;
        width[n++] = (int)w;
        if (!*c++) return n;
    }
    return 0;
}

ITP_FN interp_tensor itp_arch_widths(interp_net *net, interp_tensor x, int n_classes,
                                     const char *widths)
{
    int width[ITP_ARCH_WIDTHS];
    const int n = itp_arch_numbers(widths, width);
    if (!n) {
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "mlp:%.60s: give up to %d widths like 784-100-50-10",
                     widths, ITP_ARCH_WIDTHS);
        return 0;
    }
    x = interp_flatten(net, x);
    const int in = x ? itp_tensor_shape(net, x)->dim[1] : 0;
    if (n < 2 || width[0] != in || width[n - 1] != n_classes) {
        itp_net_fail(
            net, INTERP_BAD_ARGUMENT,
            "mlp:%.60s: the data has %d inputs and %d classes, so the widths must begin with "
            "%d and end with %d",
            widths, in, n_classes, in, n_classes);
        return 0;
    }
    for (int i = 1; i + 1 < n; i++) x = interp_relu(net, interp_dense(net, x, width[i], NULL));
    return itp_last_dense(net, x, n_classes);
}

/* The default for small images: two blocks of two convolutions, the image halved after each. */
ITP_FN interp_tensor itp_arch_cnn(interp_net *net, interp_tensor x, int n_classes)
{
    for (int block = 0; block < 2; block++) {
        const int channels = block ? 64 : 32;
        x = itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, 1, -1, 1, false));
        x = itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, 1, -1, 1, false));
        const interp_shape *s = x ? itp_tensor_shape(net, x) : NULL;
        if (s && s->dim[2] > 3 && s->dim[3] > 3)
            x = itp_arch_pool(net, x, INTERP_POOL_MAX, 2, 2, 0);
    }
    x = interp_dropout(net, interp_flatten(net, x), 0.25f);
    return itp_last_dense(net, x, n_classes);
}

/* As in Lan et al. 2019: filters of 5x5, and units. */
ITP_FN interp_tensor itp_arch_lenet(interp_net *net, interp_tensor x, int n_classes, const int *w)
{
    x = interp_relu(net, itp_arch_conv(net, x, w[0], 5, 1, 2, 1, true));
    x = itp_arch_pool(net, x, INTERP_POOL_MAX, 2, 2, 0);
    x = interp_relu(net, itp_arch_conv(net, x, w[1], 5, 1, 2, 1, true));
    x = itp_arch_pool(net, x, INTERP_POOL_MAX, 2, 2, 0);
    x = interp_dropout(net, interp_flatten(net, x), 0.25f);
    x = interp_relu(net, interp_dense(net, x, w[2], NULL));
    return itp_last_dense(net, interp_dropout(net, x, 0.5f), n_classes);
}

/* Springenberg et al. 2015, as in Lan et al. 2019. */
ITP_FN interp_tensor itp_arch_allcnn(interp_net *net, interp_tensor x, int n_classes, const int *w)
{
    for (int block = 0; block < 2; block++) {
        const int channels = w[block];
        x = itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, 1, -1, 1, true));
        x = itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, 1, -1, 1, true));
        x = interp_dropout(net, itp_arch_conv(net, x, channels, 3, 2, -1, 1, true), 0.5f);
    }
    x = itp_bn_relu(net, itp_arch_conv(net, x, w[2], 3, 1, -1, 1, true));
    x = itp_bn_relu(net, itp_arch_conv(net, x, w[2], 1, 1, 0, 1, true));
    x = itp_arch_conv(net, x, n_classes, 1, 1, 0, 1, true);
    return interp_flatten(net, itp_arch_pool(net, x, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0));
}

/* He et al. 2016 for small images: 3 stages of 3 blocks; shortcuts as in Lan et al. 2019. w: channels of
   the stages, and between the two convolutions of each stage's blocks. */
ITP_FN interp_tensor itp_arch_resnet20(interp_net *net, interp_tensor x, int n_classes,
                                       const int *w)
{
    x = itp_bn_relu(net, itp_arch_conv(net, x, w[0], 3, 1, -1, 1, true));
    for (int stage = 0; stage < 3; stage++)
        for (int block = 0; block < 3; block++) {
            const int channels = w[stage], stride = stage && !block ? 2 : 1;
            interp_tensor y =
                itp_bn_relu(net, itp_arch_conv(net, x, w[3 + stage], 3, stride, -1, 1, true));
            y = interp_batch_norm(net, itp_arch_conv(net, y, channels, 3, 1, -1, 1, true), NULL);
            if (stride > 1) x = itp_arch_conv(net, x, channels, 1, stride, -1, 1, true);
            x = interp_relu(net, interp_add(net, x, y));
        }
    x = interp_flatten(net, itp_arch_pool(net, x, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0));
    return itp_last_dense(net, x, n_classes);
}

/* Whether an input is too small for the strided first layers of the ImageNet networks. */
ITP_FN bool itp_is_small(const interp_net *net, interp_tensor x)
{
    if (!x) return true;
    const interp_shape *s = itp_tensor_shape(net, x);
    return s->rank != 4 || s->dim[2] < 65 || s->dim[3] < 65;
}

/* Convolution and batch norm, which residual blocks are made of. */
ITP_FN interp_tensor itp_conv_bn(interp_net *net, interp_tensor x, int channels, int kernel,
                                 int stride)
{
    return interp_batch_norm(
        net, itp_arch_conv(net, x, channels, kernel, stride, kernel / 2, 1, false), NULL);
}

/* Two 3x3 convolutions, or 1x1, 3x3 and 1x1 to four times the channels, around a shortcut. */
ITP_FN interp_tensor itp_residual_block(interp_net *net, interp_tensor x, int channels, int stride,
                                        bool bottleneck)
{
    if (!x) return 0;
    const int out = bottleneck ? 4 * channels : channels, in = itp_tensor_shape(net, x)->dim[1];
    interp_tensor y = x;
    if (bottleneck) y = interp_relu(net, itp_conv_bn(net, y, channels, 1, 1));
    y = interp_relu(net, itp_conv_bn(net, y, channels, 3, stride));
    y = itp_conv_bn(net, y, out, bottleneck ? 1 : 3, 1);
    if (stride > 1 || in != out) x = itp_conv_bn(net, x, out, 1, stride);
    return interp_relu(net, interp_add(net, y, x));
}

/* He et al. 2016, the stride of a bottleneck in its 3x3; images below 65 pixels keep their size at
   first. */
ITP_FN interp_tensor itp_arch_resnet(interp_net *net, interp_tensor x, int n_classes,
                                     const int blocks[4], bool bottleneck)
{
    if (itp_is_small(net, x)) {
        x = interp_relu(net, itp_conv_bn(net, x, 64, 3, 1));
    } else {
        x = interp_relu(net, itp_conv_bn(net, x, 64, 7, 2));
        x = itp_arch_pool(net, x, INTERP_POOL_MAX, 3, 2, 1);
    }
    for (int stage = 0; stage < 4; stage++)
        for (int block = 0; block < blocks[stage]; block++)
            x = itp_residual_block(net, x, 64 << stage, stage && !block ? 2 : 1, bottleneck);
    x = interp_flatten(net, itp_arch_pool(net, x, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0));
    return itp_last_dense(net, x, n_classes);
}

ITP_FN interp_tensor itp_arch_resnet18(interp_net *net, interp_tensor x, int n_classes)
{
    static const int blocks[4] = {2, 2, 2, 2};
    return itp_arch_resnet(net, x, n_classes, blocks, false);
}

ITP_FN interp_tensor itp_arch_resnet50(interp_net *net, interp_tensor x, int n_classes)
{
    static const int blocks[4] = {3, 4, 6, 3};
    return itp_arch_resnet(net, x, n_classes, blocks, true);
}

/* Half the channels of VGG-11, as in Lan et al. 2019. */
ITP_FN interp_tensor itp_arch_vgg_half(interp_net *net, interp_tensor x, int n_classes,
                                       const int *w)
{
    for (int i = 0; i < 6; i++) {
        x = interp_relu(net, itp_arch_conv(net, x, w[i], 3, 1, -1, 1, true));
        if (i != 2 && i != 4) x = itp_arch_pool(net, x, INTERP_POOL_MAX, 2, 2, 0);
    }
    x = interp_flatten(net, x);
    for (int i = 6; i < 8; i++)
        x = interp_dropout(net, interp_relu(net, interp_dense(net, x, w[i], NULL)), 0.5f);
    return itp_last_dense(net, x, n_classes);
}

/* One stage of mobile blocks: expansion, channels, repeats, first stride, kernel. */
typedef struct itp_mobile_stage {
    int expand, channels, repeats, stride, kernel;
} itp_mobile_stage;

/* How a network of mobile blocks is scaled. */
typedef struct itp_mobile_scale {
    double width, depth; /* factors of channels and repeats */
    float dropout;
    bool efficient; /* squeeze and excite, SiLU; else ReLU6 */
} itp_mobile_scale;

/* The multiple of 8 nearest to channels * width, not less than nine tenths of that. */
ITP_FN int itp_mobile_channels(const itp_mobile_scale *scale, int channels)
{
    const double want = channels * scale->width;
    const int near = itp_max(8, (int)(want + 4) / 8 * 8);
    return near < 0.9 * want ? near + 8 : near;
}

ITP_FN interp_tensor itp_mobile_conv(interp_net *net, interp_tensor x, int channels, int kernel,
                                     int stride, int groups, bool efficient)
{
    x = itp_arch_conv(net, x, channels, kernel, stride, kernel / 2, groups, false);
    return interp_activate(net, interp_batch_norm(net, x, NULL),
                           efficient ? INTERP_SILU : INTERP_RELU6, 0);
}

/* Expand by 1x1, depthwise, squeeze and excite (EfficientNet), project by 1x1, add. */
ITP_FN interp_tensor itp_mobile_block(interp_net *net, interp_tensor x, const itp_mobile_stage *s,
                                      int channels, int stride, bool efficient)
{
    if (!x) return 0;
    const int in = itp_tensor_shape(net, x)->dim[1], wide = in * s->expand;
    interp_tensor y = x;
    if (s->expand > 1) y = itp_mobile_conv(net, y, wide, 1, 1, 1, efficient);
    y = itp_mobile_conv(net, y, wide, s->kernel, stride, wide, efficient);
    if (efficient) {
        interp_tensor g = itp_arch_pool(net, y, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0);
        g = itp_arch_conv(net, g, itp_max(1, in / 4), 1, 1, 0, 1, true);
        g = itp_arch_conv(net, interp_activate(net, g, INTERP_SILU, 0), wide, 1, 1, 0, 1, true);
        y = interp_mul(net, y, interp_activate(net, g, INTERP_SIGMOID, 0));
    }
    y = itp_conv_bn(net, y, channels, 1, 1);
    return stride == 1 && in == channels ? interp_add(net, y, x) : y;
}

ITP_FN interp_tensor itp_arch_mobile(interp_net *net, interp_tensor x, int n_classes,
                                     const itp_mobile_stage *stages, int n_stages,
                                     const itp_mobile_scale *scale)
{
    const bool small = itp_is_small(net, x); /* the first two halvings are left out */
    int halvings = 1;
    x = itp_mobile_conv(net, x, itp_mobile_channels(scale, 32), 3, small ? 1 : 2, 1,
                        scale->efficient);
    for (int i = 0; i < n_stages; i++) {
        const int channels = itp_mobile_channels(scale, stages[i].channels);
        const int repeats = (int)ceil(stages[i].repeats * scale->depth);
        for (int r = 0; r < repeats; r++) {
            int stride = r ? 1 : stages[i].stride;
            if (stride > 1 && halvings++ < 2 && small) stride = 1;
            x = itp_mobile_block(net, x, &stages[i], channels, stride, scale->efficient);
        }
    }
    x = itp_mobile_conv(net, x, itp_mobile_channels(scale, 1280), 1, 1, 1, scale->efficient);
    x = interp_flatten(net, itp_arch_pool(net, x, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0));
    return itp_last_dense(net, interp_dropout(net, x, scale->dropout), n_classes);
}

/* Sandler et al. 2018. */
ITP_FN interp_tensor itp_arch_mobilenet(interp_net *net, interp_tensor x, int n_classes)
{
    static const itp_mobile_stage stages[] = {{1, 16, 1, 1, 3}, {6, 24, 2, 2, 3}, {6, 32, 3, 2, 3},
                                              {6, 64, 4, 2, 3}, {6, 96, 3, 1, 3}, {6, 160, 3, 2, 3},
                                              {6, 320, 1, 1, 3}};
    static const itp_mobile_scale plain = {1, 1, 0.2f, false};
    return itp_arch_mobile(net, x, n_classes, stages, 7, &plain);
}

/* Tan and Le 2019: table 1, and the factors of B0 to B3 from the authors' code. */
ITP_FN interp_tensor itp_arch_efficientnet(interp_net *net, interp_tensor x, int n_classes,
                                           int size)
{
    static const itp_mobile_stage stages[] = {
        {1, 16, 1, 1, 3},  {6, 24, 2, 2, 3},  {6, 40, 2, 2, 5}, {6, 80, 3, 2, 3},
        {6, 112, 3, 1, 5}, {6, 192, 4, 2, 5}, {6, 320, 1, 1, 3}};
    static const itp_mobile_scale scales[] = {
        {1, 1, 0.2f, true}, {1, 1.1, 0.2f, true}, {1.1, 1.2, 0.3f, true}, {1.2, 1.4, 0.3f, true}};
    return itp_arch_mobile(net, x, n_classes, stages, 7, &scales[size]);
}

ITP_FN interp_tensor itp_arch_efficientnet_b0(interp_net *net, interp_tensor x, int n_classes)
{
    return itp_arch_efficientnet(net, x, n_classes, 0);
}

ITP_FN interp_tensor itp_arch_efficientnet_b1(interp_net *net, interp_tensor x, int n_classes)
{
    return itp_arch_efficientnet(net, x, n_classes, 1);
}

ITP_FN interp_tensor itp_arch_efficientnet_b2(interp_net *net, interp_tensor x, int n_classes)
{
    return itp_arch_efficientnet(net, x, n_classes, 2);
}

ITP_FN interp_tensor itp_arch_efficientnet_b3(interp_net *net, interp_tensor x, int n_classes)
{
    return itp_arch_efficientnet(net, x, n_classes, 3);
}

/* Side of a patch: 16 for images of 224 pixels, 8 for 64, 4 for 32, 2 for 8. */
ITP_FN int itp_vit_patch(int side)
{
    int patch = 16;
    while (patch > 1 && 2 * patch * patch > 3 * side) patch /= 2;
    return patch;
}

/* [N,C,H,W] to [N,1+T,width]: a class token and T patches, with their places added. Images that are
   no multiple of the patch are filled up with zeros at the right and below. */
ITP_FN interp_tensor itp_vit_tokens(interp_net *net, interp_tensor x, int width)
{
    enum { fan_of_sd_002 = 5000 }; /* sqrt(2 / 5000) = 0.02 */
    static const int tokens_first[3] = {0, 2, 1};
    if (!x) return 0;
    const interp_shape s = *itp_tensor_shape(net, x);
    const int patch = itp_vit_patch(itp_min(s.dim[2], s.dim[3]));
    interp_conv2d_desc d;
    memset(&d, 0, sizeof d);
    d.channels = width;
    d.kernel[0] = d.stride[0] = patch;
    d.pad[2] = (patch - s.dim[2] % patch) % patch;
    d.pad[3] = (patch - s.dim[3] % patch) % patch;
    d.init = INTERP_GLOROT_UNIFORM;
    const interp_shape rows = itp_shape_of(3, 0, width, -1, 1), one = itp_shape_of(0, 1, 1, 1, 1);
    x = interp_reshape(net, interp_conv2d(net, x, &d), &rows);
    if (!x) return 0;
    x = interp_transpose(net, x, tokens_first);
    if (!x) return 0;
    const interp_shape token = itp_shape_of(3, 1, 1, width, 1);
    const interp_shape places = itp_shape_of(3, 1, itp_tensor_shape(net, x)->dim[1] + 1, width, 1);
    const float zero = 0; /* times a patch: the class token once for every sample */
    interp_tensor first = interp_slice(net, x, 1, 0, 1, false);
    first = interp_mul(net, first, interp_constant(net, &one, &zero));
    first = interp_add(
        net, first,
        interp_parameter(net, "class_token", &token, INTERP_HE_NORMAL, fan_of_sd_002, 0));
    const interp_tensor both[2] = {first, x};
    return interp_add(
        net, interp_concat(net, 2, both, 1),
        interp_parameter(net, "positions", &places, INTERP_HE_NORMAL, fan_of_sd_002, 0));
}

/* Dosovitskiy et al. 2021 in the size of Touvron et al. 2021: 12 blocks, 192 wide, 3 heads. */
ITP_FN interp_tensor itp_arch_vit_tiny(interp_net *net, interp_tensor x, int n_classes)
{
    enum { width = 192, heads = 3, blocks = 12 };
    interp_norm_desc norm;
    interp_dense_desc dense;
    memset(&norm, 0, sizeof norm);
    memset(&dense, 0, sizeof dense);
    norm.epsilon = 1e-6f;
    dense.init = INTERP_GLOROT_UNIFORM;
    x = itp_vit_tokens(net, x, width);
    for (int i = 0; i < blocks; i++) {
        interp_tensor y = interp_self_attention(net, interp_layer_norm(net, x, &norm), heads);
        x = interp_add(net, x, y);
        y = interp_dense(net, interp_layer_norm(net, x, &norm), 4 * width, &dense);
        y = interp_dense(net, interp_activate(net, y, INTERP_GELU, 0), width, &dense);
        x = interp_add(net, x, y);
    }
    x = interp_slice(net, interp_layer_norm(net, x, &norm), 1, 0, 1, true);
    return itp_last_dense(net, x, n_classes);
}

typedef struct itp_arch {
    const char *name;
    interp_tensor (*build)(interp_net *net, interp_tensor x, int n_classes);
    bool image; /* needs [C,H,W] */
    interp_tensor (*scaled)(interp_net *net, interp_tensor x, int n_classes,
                            const int *w); /* in place of `build`, for those that take widths */
    int n;                                 /* widths */
    int widths[ITP_ARCH_WIDTHS];           /* those without ":W-...-W" */
} itp_arch;

/* The row of "NAME" or "NAME:W-...-W" with its widths; false for none. */
ITP_FN bool itp_arch_find(const char *name, itp_arch *row)
{
    static const itp_arch rows[] = {
        {"linear", itp_arch_linear, false, NULL, 0, {0}},
        {"mlp", itp_arch_mlp, false, NULL, 0, {0}},
        {"cnn", itp_arch_cnn, true, NULL, 0, {0}},
        {"lenet", NULL, true, itp_arch_lenet, 3, {20, 40, 400}},
        {"allcnn", NULL, true, itp_arch_allcnn, 3, {96, 192, 192}},
        {"resnet20", NULL, true, itp_arch_resnet20, 6, {16, 32, 64, 16, 32, 64}},
        {"resnet18", itp_arch_resnet18, true, NULL, 0, {0}},
        {"resnet50", itp_arch_resnet50, true, NULL, 0, {0}},
        {"vgg-half", NULL, true, itp_arch_vgg_half, 8, {32, 64, 128, 128, 256, 256, 512, 512}},
        {"mobilenet-v2", itp_arch_mobilenet, true, NULL, 0, {0}},
        {"efficientnet-b0", itp_arch_efficientnet_b0, true, NULL, 0, {0}},
        {"efficientnet-b1", itp_arch_efficientnet_b1, true, NULL, 0, {0}},
        {"efficientnet-b2", itp_arch_efficientnet_b2, true, NULL, 0, {0}},
        {"efficientnet-b3", itp_arch_efficientnet_b3, true, NULL, 0, {0}},
        {"vit-tiny", itp_arch_vit_tiny, true, NULL, 0, {0}}};
    const char *colon = strchr(name, ':');
    const size_t n = colon ? (size_t)(colon - name) : strlen(name);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strlen(rows[i].name) != n || strncmp(rows[i].name, name, n) != 0) continue;
        *row = rows[i];
        return !colon || (row->n && itp_arch_numbers(colon + 1, row->widths) == row->n);
    }
    return false;
}

ITP_FN interp_tensor itp_arch_build(const itp_arch *row, interp_net *net, interp_tensor x,
                                    int n_classes)
{
    return row->scaled ? row->scaled(net, x, n_classes, row->widths)
                       : row->build(net, x, n_classes);
}

/* One network for every view x[N,V,...]: its last layer is the head of the view, a ReLU follows, and
   a classifier reads their mean, or all of them side by side. */
ITP_FN interp_tensor itp_arch_views(interp_net *net, interp_tensor x, int n_classes,
                                    const itp_arch *backbone, bool concat)
{
    enum { head = 128 };
    interp_tensor y[ITP_MAX_INPUTS], first = 0;
    const int views = x ? itp_tensor_shape(net, x)->dim[1] : 0;
    if (views > ITP_MAX_INPUTS) {
        itp_net_fail(net, INTERP_UNSUPPORTED, "%s: %d views; at most %d are supported", net->name,
                     views, ITP_MAX_INPUTS);
        return 0;
    }
    for (int i = 0; i < views; i++) {
        const interp_tensor view = interp_slice(net, x, 1, i, 1, true);
        if (!i) first = view;
        y[i] = i ? interp_reuse(net, first, y[0], view)
                 : interp_relu(net, itp_arch_build(backbone, net, view, head));
    }
    if (!first) return 0;
    if (concat) return itp_last_dense(net, interp_concat(net, views, y, 1), n_classes);
    const interp_shape one = itp_shape_of(0, 1, 1, 1, 1);
    const float share = 1 / (float)views;
    interp_tensor sum = y[0];
    for (int i = 1; i < views; i++) sum = interp_add(net, sum, y[i]);
    return itp_last_dense(net, interp_mul(net, sum, interp_constant(net, &one, &share)), n_classes);
}

/* The row of a name and whether it is called for views; false for none. */
ITP_FN bool itp_arch_parse(const char *name, bool *views, bool *concat, itp_arch *row)
{
    static const char mean_of[] = "multiview:", all_of[] = "multiview-concat:";
    *concat = !strncmp(name, all_of, sizeof all_of - 1);
    *views = *concat || !strncmp(name, mean_of, sizeof mean_of - 1);
    return itp_arch_find(*views ? strchr(name, ':') + 1 : name, row);
}

INTERP_API interp_status interp_net_arch(interp_ctx *ctx, const char *arch,
                                         const interp_shape *sample, int n_classes, uint64_t seed,
                                         interp_net **out)
{
    const bool mlp = !strncmp(arch, "mlp:", 4);
    bool views, concat;
    itp_arch row;
    memset(&row, 0, sizeof row);
    if (!itp_arch_parse(arch, &views, &concat, &row) && !mlp)
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "architecture \"%.60s\" is not known: linear, mlp, mlp:WIDTH-...-WIDTH, cnn, lenet, "
            "allcnn, resnet20, resnet18, resnet50, vgg-half, mobilenet-v2, efficientnet-b0 .. b3, "
            "vit-tiny, multiview:NAME, multiview-concat:NAME; with widths lenet:20-40-400, "
            "allcnn:96-192-192, resnet20:16-32-64-16-32-64, vgg-half:32-64-128-128-256-256-512-512",
            arch);
    if (n_classes < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "%s: a network for %d classes: the data has no labels, or say how many",
                        arch, n_classes);
    char text[96];
    if (!mlp && row.image && sample->rank != (views ? 4 : 3))
        return itp_fail(ctx, INTERP_BAD_SHAPE, "%s needs images [%sC,H,W] but samples are %s%s",
                        arch, views ? "V," : "", itp_shape_text(sample, text, sizeof text),
                        views ? "" : ": use linear or mlp:...");
    if (views && sample->rank < 2)
        return itp_fail(ctx, INTERP_BAD_SHAPE, "%s needs views [V,...] but samples are %s", arch,
                        itp_shape_text(sample, text, sizeof text));
    interp_net *net = interp_net_new(ctx, arch);
    if (!net) return INTERP_NO_MEMORY;
    interp_tensor x = interp_input(net, NULL, sample);
    if (mlp) x = itp_arch_widths(net, x, n_classes, arch + 4);
    else if (views) x = itp_arch_views(net, x, n_classes, &row, concat);
    else x = itp_arch_build(&row, net, x, n_classes);
    interp_output(net, x, "logits");
    const interp_status status = interp_net_build(net, seed);
    if (status) interp_net_free(net);
    else *out = net;
    return status;
}

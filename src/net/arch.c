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

/* "784-100-50-10" */
ITP_FN interp_tensor itp_arch_widths(interp_net *net, interp_tensor x, int n_classes,
                                     const char *widths)
{
    enum { most = 32 };
    int width[most], n = 0;
    const char *c = widths;
    for (;;) {
        long w = 0;
        int digits = 0;
        for (; *c >= '0' && *c <= '9' && digits < 9; c++, digits++) w = w * 10 + (*c - '0');
        if (!digits || w < 1 || w > 1 << 24 || n == most || (*c && *c != '-')) {
            itp_net_fail(net, INTERP_BAD_ARGUMENT,
                         "mlp:%.60s: give up to %d widths like 784-100-50-10", widths, most);
            return 0;
        }
        width[n++] = (int)w;
        if (!*c++) break;
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

/* As in Lan et al. 2019: 20 and 40 filters of 5x5, 400 units. */
ITP_FN interp_tensor itp_arch_lenet(interp_net *net, interp_tensor x, int n_classes)
{
    x = interp_relu(net, itp_arch_conv(net, x, 20, 5, 1, 2, 1, true));
    x = itp_arch_pool(net, x, INTERP_POOL_MAX, 2, 2, 0);
    x = interp_relu(net, itp_arch_conv(net, x, 40, 5, 1, 2, 1, true));
    x = itp_arch_pool(net, x, INTERP_POOL_MAX, 2, 2, 0);
    x = interp_dropout(net, interp_flatten(net, x), 0.25f);
    x = interp_relu(net, interp_dense(net, x, 400, NULL));
    return itp_last_dense(net, interp_dropout(net, x, 0.5f), n_classes);
}

/* Springenberg et al. 2015, as in Lan et al. 2019. */
ITP_FN interp_tensor itp_arch_allcnn(interp_net *net, interp_tensor x, int n_classes)
{
    for (int block = 0; block < 2; block++) {
        const int channels = block ? 192 : 96;
        x = itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, 1, -1, 1, true));
        x = itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, 1, -1, 1, true));
        x = interp_dropout(net, itp_arch_conv(net, x, channels, 3, 2, -1, 1, true), 0.5f);
    }
    x = itp_bn_relu(net, itp_arch_conv(net, x, 192, 3, 1, -1, 1, true));
    x = itp_bn_relu(net, itp_arch_conv(net, x, 192, 1, 1, 0, 1, true));
    x = itp_arch_conv(net, x, n_classes, 1, 1, 0, 1, true);
    return interp_flatten(net, itp_arch_pool(net, x, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0));
}

/* He et al. 2016 for small images: 3 stages of 3 blocks; shortcuts as in Lan et al. 2019. */
ITP_FN interp_tensor itp_arch_resnet20(interp_net *net, interp_tensor x, int n_classes)
{
    x = itp_bn_relu(net, itp_arch_conv(net, x, 16, 3, 1, -1, 1, true));
    for (int stage = 0; stage < 3; stage++)
        for (int block = 0; block < 3; block++) {
            const int channels = 16 << stage, stride = stage && !block ? 2 : 1;
            interp_tensor y =
                itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, stride, -1, 1, true));
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

/* He et al. 2016; images below 65 pixels keep their size at first. */
ITP_FN interp_tensor itp_arch_resnet18(interp_net *net, interp_tensor x, int n_classes)
{
    if (itp_is_small(net, x)) {
        x = itp_bn_relu(net, itp_arch_conv(net, x, 64, 3, 1, 1, 1, false));
    } else {
        x = itp_bn_relu(net, itp_arch_conv(net, x, 64, 7, 2, 3, 1, false));
        x = itp_arch_pool(net, x, INTERP_POOL_MAX, 3, 2, 1);
    }
    for (int stage = 0; stage < 4; stage++)
        for (int block = 0; block < 2; block++) {
            const int channels = 64 << stage, stride = stage && !block ? 2 : 1;
            interp_tensor y =
                itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, stride, 1, 1, false));
            y = interp_batch_norm(net, itp_arch_conv(net, y, channels, 3, 1, 1, 1, false), NULL);
            if (stride > 1)
                x = interp_batch_norm(net, itp_arch_conv(net, x, channels, 1, stride, 0, 1, false),
                                      NULL);
            x = interp_relu(net, interp_add(net, y, x));
        }
    x = interp_flatten(net, itp_arch_pool(net, x, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0));
    return itp_last_dense(net, x, n_classes);
}

/* Half the channels of VGG-11, as in Lan et al. 2019. */
ITP_FN interp_tensor itp_arch_vgg_half(interp_net *net, interp_tensor x, int n_classes)
{
    static const int channels[] = {32, 0, 64, 0, 128, 128, 0, 256, 256, 0}; /* 0: pool */
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
        x = channels[i] ? interp_relu(net, itp_arch_conv(net, x, channels[i], 3, 1, -1, 1, true))
                        : itp_arch_pool(net, x, INTERP_POOL_MAX, 2, 2, 0);
    x = interp_flatten(net, x);
    for (int i = 0; i < 2; i++)
        x = interp_dropout(net, interp_relu(net, interp_dense(net, x, 512, NULL)), 0.5f);
    return itp_last_dense(net, x, n_classes);
}

/* One stage of mobile blocks: expansion, channels, repeats, first stride, kernel. */
typedef struct itp_mobile_stage {
    int expand, channels, repeats, stride, kernel;
} itp_mobile_stage;

/* Expand by 1x1, depthwise, squeeze and excite (EfficientNet), project by 1x1, add. */
ITP_FN interp_tensor itp_mobile_block(interp_net *net, interp_tensor x, const itp_mobile_stage *s,
                                      int stride, bool efficient)
{
    if (!x) return 0;
    const interp_activation f = efficient ? INTERP_SILU : INTERP_RELU6;
    const int in = itp_tensor_shape(net, x)->dim[1], wide = in * s->expand;
    interp_tensor y = x;
    if (s->expand > 1)
        y = interp_activate(
            net, interp_batch_norm(net, itp_arch_conv(net, y, wide, 1, 1, 0, 1, false), NULL), f,
            0);
    y = itp_arch_conv(net, y, wide, s->kernel, stride, s->kernel / 2, wide, false);
    y = interp_activate(net, interp_batch_norm(net, y, NULL), f, 0);
    if (efficient) {
        interp_tensor g = itp_arch_pool(net, y, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0);
        g = interp_activate(net, itp_arch_conv(net, g, itp_max(1, in / 4), 1, 1, 0, 1, true), f, 0);
        g = interp_activate(net, itp_arch_conv(net, g, wide, 1, 1, 0, 1, true), INTERP_SIGMOID, 0);
        y = interp_mul(net, y, g);
    }
    y = interp_batch_norm(net, itp_arch_conv(net, y, s->channels, 1, 1, 0, 1, false), NULL);
    return stride == 1 && in == s->channels ? interp_add(net, y, x) : y;
}

ITP_FN interp_tensor itp_arch_mobile(interp_net *net, interp_tensor x, int n_classes,
                                     const itp_mobile_stage *stages, int n_stages, bool efficient)
{
    const interp_activation f = efficient ? INTERP_SILU : INTERP_RELU6;
    const bool small = itp_is_small(net, x); /* the first two halvings are left out */
    int halvings = 1;
    x = itp_arch_conv(net, x, 32, 3, small ? 1 : 2, 1, 1, false);
    x = interp_activate(net, interp_batch_norm(net, x, NULL), f, 0);
    for (int i = 0; i < n_stages; i++)
        for (int r = 0; r < stages[i].repeats; r++) {
            int stride = r ? 1 : stages[i].stride;
            if (stride > 1 && halvings++ < 2 && small) stride = 1;
            x = itp_mobile_block(net, x, &stages[i], stride, efficient);
        }
    x = itp_arch_conv(net, x, 1280, 1, 1, 0, 1, false);
    x = interp_activate(net, interp_batch_norm(net, x, NULL), f, 0);
    x = interp_flatten(net, itp_arch_pool(net, x, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0));
    return itp_last_dense(net, interp_dropout(net, x, 0.2f), n_classes);
}

/* Sandler et al. 2018. */
ITP_FN interp_tensor itp_arch_mobilenet(interp_net *net, interp_tensor x, int n_classes)
{
    static const itp_mobile_stage stages[] = {{1, 16, 1, 1, 3}, {6, 24, 2, 2, 3}, {6, 32, 3, 2, 3},
                                              {6, 64, 4, 2, 3}, {6, 96, 3, 1, 3}, {6, 160, 3, 2, 3},
                                              {6, 320, 1, 1, 3}};
    return itp_arch_mobile(net, x, n_classes, stages, 7, false);
}

/* Tan and Le 2019. */
ITP_FN interp_tensor itp_arch_efficientnet(interp_net *net, interp_tensor x, int n_classes)
{
    static const itp_mobile_stage stages[] = {
        {1, 16, 1, 1, 3},  {6, 24, 2, 2, 3},  {6, 40, 2, 2, 5}, {6, 80, 3, 2, 3},
        {6, 112, 3, 1, 5}, {6, 192, 4, 2, 5}, {6, 320, 1, 1, 3}};
    return itp_arch_mobile(net, x, n_classes, stages, 7, true);
}

typedef struct itp_arch {
    const char *name;
    interp_tensor (*build)(interp_net *net, interp_tensor x, int n_classes);
    bool image; /* needs [C,H,W] */
} itp_arch;

ITP_FN const itp_arch *itp_arch_find(const char *name)
{
    static const itp_arch rows[] = {{"linear", itp_arch_linear, false},
                                    {"mlp", itp_arch_mlp, false},
                                    {"cnn", itp_arch_cnn, true},
                                    {"lenet", itp_arch_lenet, true},
                                    {"allcnn", itp_arch_allcnn, true},
                                    {"resnet20", itp_arch_resnet20, true},
                                    {"resnet18", itp_arch_resnet18, true},
                                    {"vgg-half", itp_arch_vgg_half, true},
                                    {"mobilenet-v2", itp_arch_mobilenet, true},
                                    {"efficientnet-b0", itp_arch_efficientnet, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].name, name)) return &rows[i];
    return NULL;
}

INTERP_API interp_status interp_net_arch(interp_ctx *ctx, const char *arch,
                                         const interp_shape *sample, int n_classes, uint64_t seed,
                                         interp_net **out)
{
    const bool mlp = !strncmp(arch, "mlp:", 4);
    const itp_arch *row = itp_arch_find(arch);
    if (!mlp && !row)
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "architecture \"%.60s\" is not known: linear, mlp, mlp:WIDTH-...-WIDTH, cnn, lenet, "
            "allcnn, resnet20, resnet18, vgg-half, mobilenet-v2, efficientnet-b0",
            arch);
    if (n_classes < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "%s: a network for %d classes: the data has no labels, or say how many",
                        arch, n_classes);
    if (row && row->image && sample->rank != 3) {
        char text[96];
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "%s needs images [C,H,W] but samples are %s: use linear or mlp:...", arch,
                        itp_shape_text(sample, text, sizeof text));
    }
    interp_net *net = interp_net_new(ctx, arch);
    if (!net) return INTERP_NO_MEMORY;
    interp_tensor x = interp_input(net, NULL, sample);
    x = mlp ? itp_arch_widths(net, x, n_classes, arch + 4) : row->build(net, x, n_classes);
    interp_output(net, x, "logits");
    const interp_status status = interp_net_build(net, seed);
    if (status) interp_net_free(net);
    else *out = net;
    return status;
}

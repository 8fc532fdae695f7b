/* ---- attr/methods.c: every method, one row each ------------------------------------------------- */

ITP_FN const itp_attr_row *itp_attr_row_of(interp_method method)
{
#define ITP_GRADIENT(name, kind, needs)                                                            \
    {                                                                                              \
        name, kind, (needs) | ITP_ATTR_MANY_TARGETS, itp_attr_settle_gradient,                     \
            itp_attr_layout_gradient, itp_attr_scratch_gradient, itp_attr_run_gradient             \
    }
#define ITP_CAM(name, kind, needs)                                                                 \
    {                                                                                              \
        name, kind, (needs) | ITP_ATTR_LAYER | ITP_ATTR_MAP | ITP_ATTR_ALONE, itp_attr_settle_cam, \
            itp_attr_layout_cam, itp_attr_scratch_cam, itp_attr_run_cam                            \
    }
#define ITP_PERTURB(name, kind, needs)                                                             \
    {                                                                                              \
        name, kind, needs, itp_attr_settle_perturb, itp_attr_layout_perturb,                       \
            itp_attr_scratch_perturb, itp_attr_run_perturb                                         \
    }
    enum {
        INPUT = ITP_ATTR_INPUT_GRAD,
        ALONE = ITP_ATTR_INPUT_GRAD | ITP_ATTR_ALONE,
        AVERAGE = ITP_ATTR_INPUT_GRAD | ITP_ATTR_AVERAGES,
        LAYER = ITP_ATTR_LAYER | ITP_ATTR_LAYER_GRAD,
        MANY = ITP_ATTR_INPUT_GRAD | ITP_ATTR_ANY_BASELINES,
        RULES = ITP_ATTR_INPUT_GRAD | ITP_ATTR_RULES | ITP_ATTR_MANY_TARGETS
    };
    static const itp_attr_row rows[INTERP_METHOD_COUNT] = {
        ITP_GRADIENT("saliency", ITP_G_SALIENCY, ALONE),
        ITP_GRADIENT("input_x_gradient", ITP_G_PRODUCT, INPUT),
        ITP_GRADIENT("integrated_gradients", ITP_G_PATH, INPUT),
        ITP_GRADIENT("smooth_grad", ITP_G_SMOOTH, AVERAGE),
        ITP_GRADIENT("smooth_grad_sq", ITP_G_SQUARE, AVERAGE),
        ITP_GRADIENT("var_grad", ITP_G_VARIANCE, AVERAGE),
        ITP_GRADIENT("expected_gradients", ITP_G_EXPECTED, MANY),
        ITP_GRADIENT("gradient_shap", ITP_G_EXPECTED, MANY),
        ITP_GRADIENT("blur_ig", ITP_G_BLUR, INPUT),
        {"guided_ig", 0, INPUT | ITP_ATTR_TOGETHER, itp_attr_settle_guided_ig,
         itp_attr_layout_guided_ig, itp_attr_scratch_guided_ig, itp_attr_run_guided_ig},
        ITP_GRADIENT("guided_backprop", ITP_G_GUIDED, ALONE),
        ITP_GRADIENT("deconvolution", ITP_G_DECONV, ALONE),
        ITP_GRADIENT("guided_backprop_smooth", ITP_G_GUIDED_SMOOTH, ALONE),
        {"deep_lift", 0, RULES | ITP_ATTR_BASELINES, itp_attr_settle_deeplift,
         itp_attr_layout_deeplift, itp_attr_scratch_deeplift, itp_attr_run_deeplift},
        {"deep_lift_shap", 1, RULES | ITP_ATTR_BASELINES | ITP_ATTR_ANY_BASELINES,
         itp_attr_settle_deeplift, itp_attr_layout_deeplift, itp_attr_scratch_deeplift,
         itp_attr_run_deeplift},
        {"lrp", 0, RULES | ITP_ATTR_ALONE, itp_attr_settle_lrp, itp_attr_layout_lrp,
         itp_attr_scratch_lrp, itp_attr_run_lrp},
        ITP_CAM("grad_cam", ITP_CAM_MEAN, ITP_ATTR_LAYER_GRAD),
        ITP_CAM("grad_cam_plus_plus", ITP_CAM_PLUS_PLUS, ITP_ATTR_LAYER_GRAD),
        ITP_CAM("xgrad_cam", ITP_CAM_X, ITP_ATTR_LAYER_GRAD),
        ITP_CAM("layer_cam", ITP_CAM_LAYER, ITP_ATTR_LAYER_GRAD),
        ITP_CAM("hires_cam", ITP_CAM_HIRES, ITP_ATTR_LAYER_GRAD),
        ITP_CAM("eigen_cam", ITP_CAM_EIGEN, 0),
        ITP_CAM("score_cam", ITP_CAM_SCORE, 0),
        ITP_CAM("ablation_cam", ITP_CAM_ABLATION, 0),
        ITP_CAM("guided_grad_cam", ITP_CAM_GUIDED, INPUT | ITP_ATTR_LAYER_GRAD),
        {"full_grad", 0, ALONE, itp_attr_settle_full_grad, itp_attr_layout_full_grad,
         itp_attr_scratch_full_grad, itp_attr_run_full_grad},
        ITP_GRADIENT("layer_gradient_x_activation", ITP_G_LAYER, LAYER),
        ITP_GRADIENT("layer_conductance", ITP_G_CONDUCTANCE, LAYER),
        ITP_GRADIENT("internal_influence", ITP_G_INFLUENCE, LAYER),
        ITP_GRADIENT("neuron_gradient", ITP_G_GRADIENT, INPUT | ITP_ATTR_NEURON),
        ITP_GRADIENT("neuron_conductance", ITP_G_THROUGH, INPUT | ITP_ATTR_THROUGH),
        ITP_PERTURB("occlusion", ITP_P_OCCLUSION, ITP_ATTR_LOCAL),
        ITP_PERTURB("feature_ablation", ITP_P_ABLATION, ITP_ATTR_FEATURES | ITP_ATTR_LOCAL),
        ITP_PERTURB("feature_permutation", ITP_P_PERMUTATION, ITP_ATTR_LOCAL),
        ITP_PERTURB("shapley_value_exact", ITP_P_EXACT, ITP_ATTR_FEATURES),
        ITP_PERTURB("shapley_value_sampling", ITP_P_SAMPLING, ITP_ATTR_FEATURES),
        ITP_PERTURB("kernel_shap", ITP_P_KERNEL, ITP_ATTR_FEATURES),
        ITP_PERTURB("lime", ITP_P_LIME, ITP_ATTR_FEATURES),
        ITP_PERTURB("partition_shap", ITP_P_PARTITION, ITP_ATTR_FEATURES),
        ITP_PERTURB("rise", ITP_P_RISE, 0),
        ITP_PERTURB("anchors", ITP_P_ANCHORS, ITP_ATTR_FEATURES)};
#undef ITP_GRADIENT
#undef ITP_CAM
#undef ITP_PERTURB
    return &rows[method];
}

INTERP_API const char *interp_method_name(interp_method method)
{
    return (unsigned)method < INTERP_METHOD_COUNT ? itp_attr_row_of(method)->name : "?";
}

INTERP_API interp_method interp_method_from_name(const char *name)
{
    int m = 0;
    while (m < INTERP_METHOD_COUNT && strcmp(interp_method_name((interp_method)m), name)) m++;
    return (interp_method)m;
}

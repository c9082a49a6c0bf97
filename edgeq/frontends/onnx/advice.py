"""What is known of operators that are not read, and of attributes that change nothing."""

from __future__ import annotations

MANY = "how much it gives depends on the data: cut the model before it and do it in your own code"
TREES = "edgeq computes neural networks: turn trees and support vectors into layers first (Hummingbird does), or use emlearn or m2cgen"
ADVICE = {
    **dict.fromkeys(("NonZero", "Unique"), MANY),
    **dict.fromkeys(
        ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"),
        "it draws random numbers: export the model in evaluation mode (PyTorch: model.eval()), or make them an input",
    ),
    **dict.fromkeys(
        (
            "SequenceConstruct",
            "SequenceAt",
            "SequenceEmpty",
            "SequenceInsert",
            "SequenceErase",
            "SequenceLength",
            "SequenceMap",
            "SplitToSequence",
            "ConcatFromSequence",
            "Optional",
            "OptionalGetElement",
            "OptionalHasElement",
        ),
        "export the model with plain tensors instead of lists",
    ),
    **dict.fromkeys(
        ("StringNormalizer", "TfIdfVectorizer", "StringSplit", "StringConcat", "RegexFullMatch", "LabelEncoder"),
        "turn text into numbers before the model",
    ),
    **dict.fromkeys(("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "SVMClassifier", "SVMRegressor"), TREES),
    "ATen": "PyTorch's exporter did not know the operator: export with a newer PyTorch, or replace it in the model",
    "Range": "its limits are computed: bind the inputs that decide them to values (--const NAME=VALUE), or fix the shapes (--shape)",
    "NonMaxSuppression": "cut the model before it and do it outside",
}
LAYOUTS = "com.microsoft.nchwc"  # of onnxruntime for the processor that it ran on, whose block of channels the file does not tell


def advice(domain: str, kind: str) -> str:
    """What to do about an operator that is not read."""
    if domain == LAYOUTS:
        return "it is laid out for one kind of processor: save the model with ORT_ENABLE_EXTENDED or less, or take the one before it"
    return ADVICE.get(kind, "replace it, or cut the model before it")


# Attributes that change nothing where their operator can be read at all, or that other inputs imply.
RESIZING = frozenset({"cubic_coeff_a", "exclude_outside", "extrapolation_value", "nearest_mode", "keep_aspect_ratio_policy"})
MEANINGLESS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "QLinearConv"), frozenset({"kernel_shape"})),
    **dict.fromkeys(("Resize", "Upsample"), RESIZING),
    "BatchNormalization": frozenset({"momentum", "spatial"}),
    "Cast": frozenset({"saturate", "round_mode"}),
    "CastLike": frozenset({"saturate", "round_mode"}),
    "Dropout": frozenset({"seed", "ratio"}),
    **dict.fromkeys(("LayerNormalization", "SimplifiedLayerNormalization"), frozenset({"stash_type"})),
    "MaxPool": frozenset({"storage_order"}),
    "TopK": frozenset({"sorted"}),  # in any order where it is 0: sorted as well
    "QuantizeLinear": frozenset({"saturate", "precision", "axis", "output_dtype", "block_size"}),
    "DequantizeLinear": frozenset({"axis", "output_dtype"}),
    "Softmax": frozenset({"axis"}),
}

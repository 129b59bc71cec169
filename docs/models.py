"""Makes docs/models.md from the code: `make docs`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

import models
from docs.losses import as_yaml, escaped, paragraphs_of, parameter_table, references
from engine.configuration.config import ModelSection
from engine.configuration.named import describe
from segloss.names import parameters_of

FOLDER = Path(__file__).parent
REFERENCES = {
    "Cao 2019": "Learning imbalanced datasets with label-distribution-aware margin loss, NeurIPS",
    "Chaurasia 2017": "LinkNet: exploiting encoder representations for efficient semantic segmentation, VCIP",
    "Chen 2017": "Rethinking atrous convolution for semantic image segmentation, arXiv:1706.05587",
    "Chen 2018": "Encoder-decoder with atrous separable convolution for semantic image segmentation, ECCV",
    "Fan 2020": "MA-Net: a multi-scale attention network for liver and tumor segmentation, IEEE Access 8",
    "He 2015": "Delving deep into rectifiers, ICCV",
    "He 2016": "Deep residual learning for image recognition, CVPR",
    "Hossain 2019": "Adaptive class weight based dual focal loss for improved semantic segmentation, preprint; withdrawn by its author in 2020",
    "Isensee 2024": "nnU-Net revisited: a call for rigorous validation in 3D medical image segmentation, MICCAI",
    "Kirillov 2019": "Panoptic feature pyramid networks, CVPR",
    "Li 2018": "Pyramid attention network for semantic segmentation, BMVC",
    "Long 2015": "Fully convolutional networks for semantic segmentation, CVPR",
    "Ranftl 2021": "Vision transformers for dense prediction, ICCV",
    "Ronneberger 2015": "U-Net: convolutional networks for biomedical image segmentation, MICCAI",
    "Wu 2019": "FastFCN: rethinking dilated convolution in the backbone for semantic segmentation, arXiv:1903.11816",
    "Xiao 2018": "Unified perceptual parsing for scene understanding, ECCV",
    "Xie 2021": "SegFormer: simple and efficient design for semantic segmentation with transformers, NeurIPS",
    "Zhao 2017": "Pyramid scene parsing network, CVPR",
    "Zhou 2018": "UNet++: a nested U-Net architecture for medical image segmentation, DLMIA",
}
INTRODUCTION = """\
# The networks

Made from the code by `make docs`. Every network gets one wrapper, `models.SegmentationModel`: images of any size are padded to a multiple of
the network's *padding*, pass the network and the adaptive class weights, and the logits, which are as much smaller as *logits* says, are resized
to the image (bilinear, `align_corners=False`) and cropped. `low_resolution(images)` gives the logits before the resize,
`parameter_groups(weight_decay)` the groups of an optimizer (biases, norms and class weights do not decay), `folded()` a copy whose class weights are
merged into the head.

`resnet_cifar` and `classifier` are for pictures with one label: their logits `(N, C, 1, 1)` are of the image as a whole, and images are not padded. All
others are for masks.

The same seed gives the same initial weights, whatever the loss, the head, and with or without class weights.

*Weights* are those of the defaults with 3 channels and 11 classes, in millions. *Batch of one* is no where batch normalisation meets 1×1 maps: such
a network refuses `train.batch_size: 1`.

"""
OPTIONS = """\
## Options of every network

`acw`, `head` and `head_bias` are options of the network, never implied by a loss; only `{name: adfl}` is two things in one word, `dfl` and
`acw: true`.

"""
REMARKS = """\
**head**: `cosine` is the cosine of the features and a vector a class, both of length one: logits in [−1, 1] and no bias (Cao 2019). Use it with
`{name: ldam}`, whose `s` gives the logits their scale; with `ce` it can hardly become sure. Where a network sums several heads (`vgg19_fcn`), the
logit is the mean of their cosines. Class weights do not fold into a cosine head.

**head_bias**: by default every network keeps its own start, which is 0 for most and random for `deeplabv3plus`, `deeplabv3` and `fastfcn`. `prior` gives
each class the probability 1/C under a sigmoid, so that the many negatives of `sigmoid_ce`, `sigmoid_focal`, `cb_sigmoid` and `cb_focal` do not drown the first steps.

**pretrained**: `imagenet`, where the encoder has such weights (`vgg19_fcn`: torchvision's, with fc6 and fc7 where `width` is 4096; `unet2015` has
none), or another name that segmentation-models-pytorch knows for the encoder, is downloaded once. The path of a `.safetensors` file may
hold the whole network or its encoder alone, by the names of `state_dict()`; a head of other classes and an encoder's classifier are left out,
and a line says so. The first tensor that is missing, foreign or of another shape is an error. Nothing is unpickled from a file that is given.

**gradient_checkpointing** stores the inputs of the stages alone and computes the rest again in the backward pass. `resenc_unet` has it, and every encoder of timm that offers it (`tu-…`, those of `dpt` too);
batch normalisation counts each batch twice in its running statistics then.

**Deep supervision**: `resenc_unet` is trained at several resolutions by `segloss.DeepSupervision`, whatever the loss; the loss of the log is the weighted sum. Validation, scores and
predictions are those of the finest. It does not go with `train.upsampled_loss`.

**Encoders**: stages below `depth` are not kept: they are neither counted nor saved. `optim.layer_decay: 0.8` lowers the learning rate of the encoder from layer to layer towards the
image; a layer is a numbered block (`layer1.0`, `blocks.11`), and the stem is the first.

**init_from**: `runs/NAME` starts from that run's best checkpoint, a path from that checkpoint. Head and class weights are left out where they
differ, as with another number of classes, and a line says so. Optimizer, schedule and epochs start anew. A warning says where
that run has seen images that are held out here.

"""


def page() -> str:
    """The text of docs/models.md."""
    return "\n".join(
        [INTRODUCTION + "\n".join(_table()), *_networks(), OPTIONS + "\n".join(_options()), *references(REFERENCES)]
    )


def _table() -> Iterator[str]:
    yield "| name | weights | logits | padding | batch of one |"
    yield "|---|---|---|---|---|"
    for name in models.MODELS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = models.build(name, num_classes=11, channels=3, seed=0, shapes_only=True)
            weights = sum(p.numel() for p in network.parameters()) / 1e6
            side = 64 if network.whole_image else max(4 * network.stride, network.smallest)
            logits = network.eval().low_resolution(torch.zeros(1, 3, side, side, device="meta"))
        least = f"{network.stride}" + (f", at least {network.smallest}" if network.smallest > 1 else "")
        stride = side // logits.shape[-1]
        size = "of the image" if network.whole_image else "full size" if stride == 1 else f"1/{stride}"
        one = "no" if network.pools_image or network.whole_image else "yes"
        yield f"| [`{name}`](#{name}) | {weights:.2f} | {size} | {least} | {one} |"
    yield ""


def _networks() -> Iterator[str]:
    for name, factory in models.MODELS.items():
        yield f"## {name}\n"
        yield from (f"{escaped(paragraph)}\n" for paragraph in paragraphs_of(factory))
        yield from parameter_table(factory)
        first = next(iter(parameters_of(factory).values()))
        yield f"\n```yaml\nmodel: {{name: {name}, {first.name}: {as_yaml(first.default)}}}\n```\n"


def _options() -> Iterator[str]:
    yield "| key | default | values | meaning |"
    yield "|---|---|---|---|"
    for key, field in ModelSection.model_fields.items():
        if key != "name":
            values = escaped(describe(field.annotation))
            meaning = escaped(" ".join((field.description or "").split()))
            yield f"| `{key}` | `{as_yaml(field.default)}` | {values} | {meaning} |"
    yield f"\n{REMARKS}"


def main() -> None:
    """Write the page."""
    (FOLDER / "models.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

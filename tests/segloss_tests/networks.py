"""Networks as small as they are built in tests."""

import models

SMALL = {
    "unet2015": {"width": 4},
    "resenc_unet": {"width": 4, "depth": 4, "blocks": [1, 1, 2, 1, 1]},
    "vgg19_fcn": {"width": 16},
    "fastfcn": {"encoder": "resnet18", "width": 16},
    "dpt": {"encoder": "tu-vit_tiny_patch16_224", "decoder_channels": 16},
}
"""Parameters that make large networks small."""


def build(name="unet", **parameters):
    settings = {"num_classes": 4, "channels": 3, "seed": 0} | SMALL.get(name, {}) | parameters
    return models.build(name, **settings)

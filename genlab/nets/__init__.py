"""Networks: plain modules without losses, optimisers or devices.

A generator maps z (n, d) to images, a discriminator images to one logit each, an encoder images to (μ, logvar), a
decoder z to logits or means. Where `classes` is given they take labels y (n,) as a last argument.
"""

from genlab.nets.common import SIZES, check_shape, evaluating, join, mlp
from genlab.nets.conv import (
    Classifier,
    ConvDecoder,
    ConvEncoder,
    DCGANDiscriminator,
    DCGANGenerator,
    GridDecoder,
    GridEncoder,
    dcgan_init,
    project,
)
from genlab.nets.dense import MLPDecoder, MLPDiscriminator, MLPEncoder
from genlab.nets.residual import ConditionalNorm, DownBlock, ResDiscriminator, ResGenerator, UpBlock, UpConv

__all__ = [
    "SIZES",
    "Classifier",
    "ConditionalNorm",
    "ConvDecoder",
    "ConvEncoder",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DownBlock",
    "GridDecoder",
    "GridEncoder",
    "MLPDecoder",
    "MLPDiscriminator",
    "MLPEncoder",
    "ResDiscriminator",
    "ResGenerator",
    "UpBlock",
    "UpConv",
    "check_shape",
    "dcgan_init",
    "evaluating",
    "join",
    "mlp",
    "project",
]

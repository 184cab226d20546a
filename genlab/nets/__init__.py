"""Networks: plain modules without losses, optimisers or devices.

A generator maps z (n, d) to images, a discriminator images to one logit each, an encoder images to (μ, logvar), a
decoder z to logits or means. An autoregressive network gives at each place the logits of what stands there given what
comes before; a map of a flow gives (z, log |det ∂z/∂x|) and has an inverse; a U-Net maps (x_t, t) to the shape of x_t.
Where `classes` is given they take labels y (n,) as a last argument.
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
from genlab.nets.coupling import MAF, Coupling, RealNVP, checkerboard, couplings, halves
from genlab.nets.dense import MLPDecoder, MLPDiscriminator, MLPEncoder
from genlab.nets.invertible import ActNorm, Conv1x1, Flow, Inverse, Logit, Planar, Ranks, Squeeze, planar, repair
from genlab.nets.masked import MADE, MaskedConv2d, MaskedLinear, PixelCNN
from genlab.nets.residual import ConditionalNorm, DownBlock, ResDiscriminator, ResGenerator, UpBlock, UpConv
from genlab.nets.transformer import PixelTransformer, Transformer
from genlab.nets.unet import UNet

__all__ = [
    "MADE",
    "MAF",
    "SIZES",
    "ActNorm",
    "Classifier",
    "ConditionalNorm",
    "Conv1x1",
    "ConvDecoder",
    "ConvEncoder",
    "Coupling",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DownBlock",
    "Flow",
    "GridDecoder",
    "GridEncoder",
    "Inverse",
    "Logit",
    "MLPDecoder",
    "MLPDiscriminator",
    "MLPEncoder",
    "MaskedConv2d",
    "MaskedLinear",
    "PixelCNN",
    "PixelTransformer",
    "Planar",
    "Ranks",
    "RealNVP",
    "ResDiscriminator",
    "ResGenerator",
    "Squeeze",
    "Transformer",
    "UNet",
    "UpBlock",
    "UpConv",
    "check_shape",
    "checkerboard",
    "couplings",
    "dcgan_init",
    "evaluating",
    "halves",
    "join",
    "mlp",
    "planar",
    "project",
    "repair",
]

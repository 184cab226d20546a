"""Data: digits and text that need no network, torchvision's sets, one's own folders and arrays, batches from memory."""

from genlab.data.arrays import tensors
from genlab.data.batches import Batch, Batches, find_device, stream, to_float, unpack
from genlab.data.cache import home
from genlab.data.folders import folder, read_images
from genlab.data.images import Images, Split, check_images, check_labels, check_unit
from genlab.data.sets import SETS, cifar10, course, digits, fashion_mnist, mnist, read_set
from genlab.data.words import Text, character_names, split_words

__all__ = [
    "SETS",
    "Batch",
    "Batches",
    "Images",
    "Split",
    "Text",
    "character_names",
    "check_images",
    "check_labels",
    "check_unit",
    "cifar10",
    "course",
    "digits",
    "fashion_mnist",
    "find_device",
    "folder",
    "home",
    "mnist",
    "read_images",
    "read_set",
    "split_words",
    "stream",
    "tensors",
    "to_float",
    "unpack",
]

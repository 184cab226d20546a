"""Batches: from memory, converted as they are drawn, and from whatever else yields them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genlab.data.images import Images, Split, check_images, check_labels


class Batch(NamedTuple):
    """Images x (n, c, h, w) in float32 with their labels y (n,)."""

    x: Tensor
    y: Tensor


def unpack(batch: Any) -> tuple[Tensor, Tensor | None]:
    """The images of a batch, and its labels or None.

    Args:
        batch: a tensor, a `Batch`, or what a torch DataLoader yields: (x, y) or (x,), as tuple or list.

    Raises:
        ValueError: anything else; the message names the cure.
    """
    if isinstance(batch, Tensor):
        return batch, None
    if isinstance(batch, tuple | list) and len(batch) in (1, 2) and all(isinstance(part, Tensor) for part in batch):
        x, y = batch[0], batch[1] if len(batch) == 2 else None
        if y is not None and (x.ndim == 0 or y.ndim == 0 or len(x) != len(y)):
            shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
            raise ValueError(f"a batch (x, y) needs one label an image, but got shapes {shapes}")
        return x, y
    cure = "a batch is a tensor x, or (x, y)"
    if isinstance(batch, Mapping):
        cure = f"of its keys {list(batch)} choose two and yield (x, y)"
    elif hasattr(batch, "__array__"):
        cure = "make a tensor of it: torch.from_numpy(x)"
    elif isinstance(batch, tuple | list) and any(isinstance(part, int | float) for part in batch):
        cure = "this looks like one example; a torch DataLoader makes batches of a data set"
    elif isinstance(batch, tuple | list) and len(batch) > 2:
        cure = f"it has {len(batch)} parts; yield the images and the labels alone, (x, y)"
    got = type(batch).__name__
    if isinstance(batch, tuple | list):
        got += f" of {', '.join(type(part).__name__ for part in batch[:3])}{', …' if len(batch) > 3 else ''}"
    raise ValueError(f"cannot use a {got} as a batch: {cure}")


def to_float(x: Tensor, pixels: str = "unit", *, generator: torch.Generator | None = None) -> Tensor:
    """Convert uint8 pixels to float32: "unit" to [0, 1], "symmetric" to [−1, 1], "binary" to 0 or 1.

    Binary pixels are drawn with P(1) = value / 255, anew at each call (dynamic binarisation, Burda et al. 2016). Raw
    bytes are compared with random bytes from 0 to 254, which is exact and much faster than drawing floats. They are
    drawn on the generator's device, so that a CPU generator gives every device the same pixels.

    Raises:
        ValueError: x is not uint8, or the kind of pixels is unknown.
    """
    if not isinstance(x, Tensor) or x.dtype != torch.uint8:
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"pixels are converted from uint8, but got {got}: they may be converted already")
    if pixels == "unit":
        return x.float().div_(255)
    if pixels == "symmetric":
        return x.float().div_(127.5).sub_(1)
    if pixels == "binary":
        place = x.device if generator is None else generator.device
        level = torch.randint(0, 255, x.shape, dtype=torch.uint8, device=place, generator=generator)
        return (x > level.to(x.device)).float()
    raise ValueError(f'unknown pixels {pixels!r}; choose "unit", "symmetric" or "binary"')


class Batches:
    """Endless shuffled batches from memory: uint8 on the chosen device, converted batch by batch.

    Every epoch is a new permutation; the rest that fills no batch is dropped, and other images are dropped next time.
    Several processes (`rank` of `world`) draw the same global batch and keep their rows of it, so that a run on two
    processes sees what a run on one does. Order and binarisation come from a CPU generator on every device, and
    `state_dict` and `load_state_dict` make a resumed run see the same ones, also on another device.

    Args:
        images: uint8 tensor (n, c, h, w), or `Images`.
        batch_size: images in a global batch.
        labels: yield `Batch(x, y)`, not only x; needs `Images` with labels.
        pixels: "unit", "symmetric" or "binary", see `to_float`.
        device: where the images are kept and the batches come out.
        seed: of the order and of the binarisation.
        rank: number of this process.
        world: number of processes.

    Raises:
        ValueError: no images, wrong shape or type, wrong labels, a batch larger than the data, an unknown device.
    """

    def __init__(
        self,
        images: Tensor | Images,
        batch_size: int,
        *,
        labels: bool = False,
        pixels: str = "unit",
        device: str | torch.device = "cpu",
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if isinstance(images, Split):
            raise ValueError("batches come from one half of a split: pass split.train or split.test")
        x, y = (images.x, images.y) if isinstance(images, Images) else (images, None)
        check_images(x)
        if labels and y is None:
            raise ValueError("labels=True needs Images(x, y), but got images without labels")
        if not 1 <= batch_size <= len(x) or batch_size % world:
            raise ValueError(
                f"batch_size={batch_size} must lie between 1 and the {len(x)} images"
                + (f" and be a multiple of the {world} processes" if world > 1 else "; choose a smaller one")
            )
        to_float(x[:0], pixels)  # an unknown kind of pixels is an error now, not at the first batch
        device = find_device(device)
        if labels:
            check_labels(y, len(x))
        self.x, self.y = x.to(device), y.to(device).long() if y is not None and labels else None
        self.batch_size, self.pixels, self.rank, self.world = batch_size, pixels, rank, world
        self.generator = torch.Generator().manual_seed(seed)
        self._start_epoch()

    def _start_epoch(self) -> None:
        self.epoch_state = self.generator.get_state()  # from here the permutation can be drawn again
        self.order = torch.randperm(len(self.x), generator=self.generator).to(self.x.device)
        self.position = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.x) // self.batch_size

    def __iter__(self) -> Iterator[Tensor | Batch]:
        return self

    def __next__(self) -> Tensor | Batch:
        if self.position + self.batch_size > len(self.x):
            self._start_epoch()
        chosen = self.order[self.position : self.position + self.batch_size]
        self.position += self.batch_size
        x = self.x.index_select(0, chosen)
        # Convert before taking this process's rows: binarisation then draws the same bytes on every process.
        x = to_float(x, self.pixels, generator=self.generator)[self.rank :: self.world]
        return x if self.y is None else Batch(x, self.y.index_select(0, chosen)[self.rank :: self.world])

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on with the very next batch."""
        return {
            "epoch_state": self.epoch_state,
            "state": self.generator.get_state(),
            "position": self.position,
            "images": len(self.x),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, on this device or another.

        Raises:
            ValueError: the state belongs to a set of another size, or to a GPU's generator.
        """
        if state["images"] != len(self.x):
            raise ValueError(f"the saved order is of {state['images']} images, but this set has {len(self.x)}")
        if state["state"].numel() != self.generator.get_state().numel():
            raise ValueError("the saved order was drawn by a GPU's generator, as older versions did; start a new run")
        self.generator.set_state(state["epoch_state"].cpu())
        self._start_epoch()
        self.generator.set_state(state["state"].cpu())
        self.position = state["position"]


def stream(source: Any) -> Iterator[Tensor | Batch]:
    """Endless batches from any source of them: `Batches`, a torch DataLoader, a list, a generator.

    A source that can be read again starts anew when it ends (a shuffling DataLoader in a new order). Each batch is
    what `unpack` understands, and comes out as a tensor or a `Batch`; pixels are passed on as they are.

    Raises:
        ValueError: at once, if the source is no source of batches or is empty; later, if it cannot be read again.
    """
    if isinstance(source, Batches):
        return source
    cure = None
    if isinstance(source, Images | Split | Tensor | Batch) or hasattr(source, "__array__"):
        cure = "draw batches from it: data.Batches(images, 64), with the images of one half"
    elif isinstance(source, torch.utils.data.Dataset) and not isinstance(source, torch.utils.data.IterableDataset):
        cure = "it yields single examples: torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True)"
    elif isinstance(source, str | Mapping | torch.nn.Module) or not isinstance(source, Iterable):
        cure = "pass data.Batches(images, 64), a DataLoader, or a list of batches"
    if cure:
        raise ValueError(f"a {type(source).__name__} is no source of batches; {cure}")
    with suppress(TypeError):  # a loader of an endless set has a length that cannot be asked for
        if not len(source):
            raise ValueError(
                f"this {type(source).__name__} holds no batch; a DataLoader with drop_last needs more images"
            )
    return _endless(source)


def _endless(source: Iterable[Any]) -> Iterator[Tensor | Batch]:
    drawn = 0
    while True:
        before = drawn
        for batch in source:
            drawn += 1
            x, y = unpack(batch)
            yield x if y is None else Batch(x, y)
        if drawn == before:
            what = "holds no batch" if not drawn else f"ran out after {drawn} batches and cannot be read again"
            raise ValueError(f"this {type(source).__name__} {what}; pass an endless iterator, a list or a DataLoader")


def find_device(device: str | torch.device) -> torch.device:
    """The device by name, checked to exist here.

    Raises:
        ValueError: the name is unknown, or this machine has no such device.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f'device {str(device)!r} is no name of one; "cpu" always is, others are "cuda" and "mps"'
        ) from error
    try:
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        here += ["mps"] * torch.backends.mps.is_available()
        raise ValueError(
            f'device {str(device)!r} cannot be used here ({reason}); "cpu" always can, and this machine has '
            f"{', '.join(here)}"
        ) from error
    return found

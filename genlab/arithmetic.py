"""How much a training step computes, in floating-point operations: what runs at equal cost are compared by."""

from collections.abc import Iterator
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Flops(TorchDispatchMode):
    """Counts floating-point operations of convolutions and matrix products by torch's own formulas: `total`.

    All else (activations, optimisers, losses) is not counted; it is small in networks that are not. `FlopCounterMode`
    does the same, but its module hooks fail under the double backward of a gradient penalty.
    """

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and add what it costs."""
        out = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


Step = tuple[int, dict[str, float]]


class Counted:
    """A training loop whose steps are counted: `flops` is what the last one took, and nothing of what the body does."""

    def __init__(self, loop: Iterator[Step]) -> None:
        self.loop, self.flops = loop, 0

    def __iter__(self) -> Iterator[Step]:
        return self

    def __next__(self) -> Step:
        with Flops() as counter:
            found = next(self.loop)
        self.flops = counter.total
        return found

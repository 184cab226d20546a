"""What the machine does well: how OpenMP's threads wait for each other, and whether it computes in bfloat16.

Importing this costs nothing: torch comes when it is asked about bfloat16, and not before OpenMP was told how to wait.
"""

import platform
import sys
from collections.abc import Mapping, MutableMapping

# GNU's OpenMP (torch's on Linux) reads the first two; LLVM's (macOS) and Intel's (Windows) read the last two.
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
SPINS = "1000"


def spin_little(environ: MutableMapping[str, str]) -> None:
    """Let OpenMP's threads look up briefly, some microseconds, and then sleep until their work comes.

    By default GNU's OpenMP lets them spin for milliseconds. As long as the machine has nothing else to do, both are as
    fast. Beside other busy processes a spinning thread holds the core on which the thread that it waits for should run,
    and training slows many times over. The runtimes of macOS and Windows let waiting threads yield their core: there
    nothing is set, nor where the user has chosen.

    Args:
        environ: `os.environ`, before torch is imported for the first time, or what a child process is to get.
    """
    if sys.platform.startswith("linux") and not any(name in environ for name in WAITING):
        environ["GOMP_SPINCOUNT"] = SPINS


def waiting(environ: Mapping[str, str]) -> str:
    """How OpenMP's threads wait in a process with this environment, in words."""
    if chosen := [f"{name}={environ[name]}" for name in WAITING if name in environ]:
        return ", ".join(chosen)
    if sys.platform.startswith("linux"):
        return f"spinning, which is slow beside other programs; set GOMP_SPINCOUNT={SPINS} before Python starts"
    return "as its runtime does by default"


def fast_bf16(device: object) -> bool:
    """Whether the device has instructions for bfloat16; without them bf16 is computed in software, ten times slower.

    A CUDA GPU has them from compute capability 8.0 on, an x86 processor with AVX512-BF16 or AMX. Of other kinds of
    devices than CUDA and the processor nothing bad is known, and the answer is True.

    Args:
        device: a torch.device or its name.
    """
    import torch

    found = torch.device(str(device))
    if found.type == "cuda":
        return torch.cuda.get_device_capability(found)[0] >= 8
    if found.type != "cpu":
        return True
    if platform.machine().lower() in ("arm64", "aarch64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())  # processors with AMX have it as well

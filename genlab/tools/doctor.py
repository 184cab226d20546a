"""`genlab doctor`: what machine this is, what it can do, and whether the package works on it."""

import importlib.metadata
import os
import platform
import time

import torch

from genlab import data, densities, machine, nets, train, vae
from genlab.text import say

PACKAGES = ("genlab", "torch", "torchvision", "accelerate", "safetensors", "numpy", "matplotlib", "jupyterlab", "nbval")


def report(seconds: float = 8.0) -> bool:
    """Print the report; True when the self-test passed, which trains for `seconds` or longer if it must."""
    system = f"{platform.system()}, Python {platform.python_version()}"
    say(f"machine   {platform.machine()}, {os.cpu_count()} cores, {system}")
    say("versions  " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    gpus = {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        gpus["mps"] = "Apple's GPU (mps)"
    say(
        f"devices   cpu ({torch.get_num_threads()} threads), "
        + (", ".join(gpus.values()) or "no GPU that torch can use")
    )
    known = {device: name for device, name in ({"cpu": "cpu"} | gpus).items() if device != "mps"}
    say("bfloat16  " + "; ".join(f"{name}: {_bf16(device)}" for device, name in known.items()))
    say(f"waiting   OpenMP waits: {machine.waiting(os.environ)}")
    say(f"data      kept in {data.home()}")
    for name in data.SETS:
        say(f"          {name:14} {_present(name)}")
    try:
        say(f"self-test {_self_test(seconds)}")
    except Exception as error:  # whatever fails is what the report is for
        say(f"self-test FAILED: {type(error).__name__}: {error}")
        return False
    return True


def _bf16(device: str) -> str:
    if machine.fast_bf16(device):
        return "has instructions for it"
    return "computes it in software, which is far slower than float32; train with --precision no"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _present(name: str) -> str:
    try:
        split = data.read_set(name)
    except ValueError:
        return f"not here; {name}(download=True) fetches it"
    return f"{len(split.train.x):,} images to train, {len(split.test.x):,} to test"


def _self_test(seconds: float) -> str:
    """Train a small VAE on the digits for a while; its ELBO must beat pixels that are independent of each other."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train.seed_everything(0)
    split = data.digits()
    model = vae.VAE(nets.MLPEncoder(8), nets.MLPDecoder(8)).to(device)
    batches = data.Batches(split.train, 128, pixels="binary", device=device)
    noise = train.Noise(device=device)
    player = vae.player(model, torch.optim.Adam(model.parameters(), 1e-3), noise=noise, z_dim=8)
    start = time.monotonic()
    for step, _ in train.train([player], batches, 1_000_000):
        steps = step
        if step >= 120 and time.monotonic() - start > seconds:  # 75 steps are enough to pass
            break
    rate = steps * 128 / (time.monotonic() - start)
    x = data.to_float(split.test.x, "binary", generator=torch.Generator().manual_seed(0)).to(device)
    bound = vae.bounds(model, x, noise=noise, k=1)["elbo"].mean().item()
    p = data.to_float(split.train.x).mean(0).clamp(1e-3, 1 - 1e-3).to(device)
    independent = densities.log_bernoulli(x, torch.logit(p).expand_as(x)).mean().item()
    if not bound > independent:
        raise RuntimeError(
            f"after {steps} steps the ELBO is {bound:.1f} nats, below {independent:.1f} of independent pixels"
        )
    scale = f"{independent:.1f} for independent pixels"
    return f"passed: {rate:,.0f} images/s, test ELBO {bound:.1f} nats after {steps} steps ({scale})"

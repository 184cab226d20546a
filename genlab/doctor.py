"""`genlab doctor`: what machine this is, what it can do, and whether the package works on it."""

import importlib.metadata
import os
import platform
import time

import torch

from genlab import data, nets, train, vae

PACKAGES = ("genlab", "torch", "torchvision", "accelerate", "safetensors", "numpy", "matplotlib", "jupyterlab", "nbval")


def report(seconds: float = 8.0) -> bool:
    """Print the report; True when the self-test passed, which trains for `seconds` or longer if it must."""
    system = f"{platform.system()}, Python {platform.python_version()}"
    print(f"machine   {platform.machine()}, {os.cpu_count()} cores, {system}")
    print("versions  " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f"devices   cpu ({torch.get_num_threads()} threads), " + (", ".join(gpus) or "no GPU that torch can use"))
    print(f"data      kept in {data.home()}")
    for name in data.SETS:
        print(f"          {name:14} {_present(name)}")
    try:
        print(f"self-test {_self_test(seconds)}")
    except Exception as error:  # whatever fails is what the report is for
        print(f"self-test FAILED: {type(error).__name__}: {error}")
        return False
    return True


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _present(name: str) -> str:
    try:
        split = data.load(name)
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
    bound = vae.evaluate(model, x, noise=noise, k=1)["elbo"].mean().item()
    p = data.to_float(split.train.x).mean(0).clamp(1e-3, 1 - 1e-3).to(device)
    independent = vae.log_bernoulli(x, torch.logit(p).expand_as(x)).mean().item()
    if not bound > independent:
        raise RuntimeError(
            f"after {steps} steps the ELBO is {bound:.1f} nats, below {independent:.1f} of independent pixels"
        )
    scale = f"{independent:.1f} for independent pixels"
    return f"passed: {rate:,.0f} images/s, test ELBO {bound:.1f} nats after {steps} steps ({scale})"

"""Free bits and restarts of a codebook on two processes, which must be those of one on the same batches."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests import processes_vq


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Tensor]]]:
    """What one process, and each of two, found: name -> [one, first of two, second of two]."""
    folder = tmp_path_factory.mktemp("processes")
    program = Path(__file__).with_name("processes_vq.py")
    started = [
        subprocess.Popen(
            [sys.executable, str(program), str(rank), "2", str(folder / "meeting"), str(folder)],
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        for rank in range(2)
    ]
    processes_vq.main(0, 1, folder)
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    return {
        name: [load_file(folder / f"{name}-{place}.safetensors") for place in ("1-0", "2-0", "2-1")]
        for name in ("free_bits", "codebook")
    }


def test_free_bits_are_those_of_the_whole_batch(found: dict[str, list[dict[str, Tensor]]]) -> None:
    one, *both = found["free_bits"]
    assert 0 < one["below"].item() < 6, "all dimensions fall on one side, so that the mean decides nothing"
    for process in both:
        for key, value in one.items():
            if key not in ("losses", "below"):
                torch.testing.assert_close(process[key], value, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close((both[0]["losses"] + both[1]["losses"]) / 2, one["losses"])


def test_restarted_codes_are_rows_that_one_process_would_choose(found: dict[str, list[dict[str, Tensor]]]) -> None:
    one, *both = found["codebook"]
    assert (one["restarts"] > 3).all()
    for process in both:
        assert torch.equal(process["restarts"], one["restarts"])
        for key in ("codebook", "count", "total"):
            torch.testing.assert_close(process[key], one[key], atol=1e-5, rtol=1e-5)
    assert torch.equal(both[0]["codebook"], both[1]["codebook"])

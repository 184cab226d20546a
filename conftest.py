"""Under nbval notebooks run as they are stored: no progress bars, the quick profile, the kernel of this interpreter."""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Set what the kernels inherit; nothing for a run without `--nbval`."""
    if not config.getoption("nbval", default=False):
        return
    from genlab import machine

    os.environ |= {"GENLAB_LIVE": "0", "GENLAB_PROFILE": "quick", "PYTHONHASHSEED": "0", "MPLBACKEND": "agg"}
    machine.spin_little(os.environ)
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"  # two notebooks at a time, a core each
    config.option.nbval_current_env = True
    config.option.nbval_cell_timeout = 600

"""Comparisons of two sets of images, and the networks that judge them by name."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab import data, metrics, nets, zoo


class Means(nn.Module):
    """Features that can be told by hand: the mean of each quarter of the image."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def pictures(n: int, *, seed: int = 0, channels: int = 1, size: int = 8) -> Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def numbers(found: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in found.items() if key != "features"}


# -------------------------------------------------------------------------------------------------------- the values


def test_a_comparison_holds_what_the_metrics_say_and_what_is_needed_to_read_them() -> None:
    net, real, fake = Means(), pictures(60), 0.8 * pictures(40, seed=1)
    found = metrics.compare(real, fake, net, name="means")
    a, b = metrics.features(net, real), metrics.features(net, fake)
    kernel, error = metrics.kernel_estimate(a, b)
    expected = {
        "dimensions": 4,
        "real": 60,
        "fake": 40,
        "halves": 30,
        "frechet": metrics.frechet_distance(a, b),
        "kernel": kernel,
        "kernel_error": error,
    }
    expected |= metrics.precision_recall(a, b)._asdict() | metrics.density_coverage(a, b)._asdict()
    assert found["features"] == "means"
    for key, value in expected.items():
        assert found[key] == pytest.approx(value), key
    assert found.keys() == expected.keys() | {"features", "frechet_halves", "frechet_floor"}
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(("n", "m", "half"), [(60, 60, 30), (61, 60, 30), (60, 20, 20)])
def test_the_floor_is_of_other_real_images_at_the_sizes_of_its_neighbour(n: int, m: int, half: int) -> None:
    """Sets are shuffled: real images that come class by class do not raise their own floor."""
    classes = torch.arange(n).sort().values / n  # sorted, as folders are
    real = (0.05 * pictures(n) + 0.9 * classes[:, None, None, None]).clamp(0, 1)
    found = metrics.compare(real, real[torch.arange(m) % n], Means(), name="means")
    rows = metrics.features(Means(), real)
    sorted_halves = metrics.frechet_distance(rows[: n // 2], rows[n // 2 :])
    assert found["halves"] == half
    assert 0 < found["frechet_floor"] < 0.2 * sorted_halves
    if n == m:
        assert found["frechet"] == pytest.approx(0, abs=1e-9) and found["precision"] == found["recall"] == 1
        assert 0 <= found["frechet_halves"] < 0.2 * sorted_halves


def test_bytes_arrays_and_floats_compare_alike() -> None:
    real, fake = ((255 * pictures(20, seed=seed)).round().byte() for seed in (0, 1))
    expected = metrics.compare(real, fake, Means(), name="means")
    for change in (data.to_float, lambda x: x.numpy(), lambda x: data.to_float(x).double().numpy()):
        found = metrics.compare(change(real), change(fake), Means(), name="means", batch_size=7)
        assert numbers(found) == pytest.approx(numbers(expected), rel=1e-4, abs=1e-7)


def test_a_network_of_a_symmetric_range_gets_it() -> None:
    class Symmetric(Means):
        def forward(self, x: Tensor) -> Tensor:
            assert x.min() < -0.5
            return super().forward((x + 1) / 2)

    real, fake = pictures(20), pictures(20, seed=1)
    expected = metrics.compare(real, fake, Means(), name="means")
    found = metrics.compare(real, fake, Symmetric(), name="means", pixels="symmetric")
    assert numbers(found) == pytest.approx(numbers(expected), rel=1e-3, abs=1e-6)
    with pytest.raises(ValueError, match="unknown pixels 'tanh'"):
        metrics.compare(real, fake, Means(), name="means", pixels="tanh")


def test_worse_digits_compare_worse() -> None:
    net, split = zoo.load("classifier"), data.digits()
    real = split.test.x[:400]
    noise = torch.rand(real.shape, generator=torch.Generator().manual_seed(0))
    good = metrics.compare(real, split.train.x[:400], net, name="zoo's classifier")
    bad = metrics.compare(real, 0.6 * data.to_float(split.train.x[:400]) + 0.4 * noise, net, name="zoo's classifier")
    assert good["frechet_halves"] < 1.5 * good["frechet_floor"]
    assert bad["frechet_halves"] > 10 * bad["frechet_floor"]
    assert abs(good["kernel"]) < 4 * good["kernel_error"] and bad["kernel"] > 10 * bad["kernel_error"]
    for key in ("precision", "recall", "density", "coverage"):
        assert bad[key] < good[key] / 2, key


# --------------------------------------------------------------------------------------------------------- the doors


@pytest.mark.parametrize(("n", "m", "words"), [(5, 9, "got 5 real images"), (9, 5, "got 5 generated images")])
def test_too_few_images_are_refused(n: int, m: int, words: str) -> None:
    with pytest.raises(ValueError, match=words + ".*at least 6"):
        metrics.compare(pictures(n), pictures(m), Means(), name="means")
    assert metrics.compare(pictures(6), pictures(6), Means(), name="means")["halves"] == 3


REFUSED: list[tuple[Tensor, str]] = [
    (2 * pictures(9) - 1, r"generated images: .*pixels in \[0, 1\].*\(x \+ 1\) / 2"),
    (pictures(9, channels=3), r"real images are \(1, 8, 8\) and generated ones \(3, 8, 8\).* channels="),
    (pictures(9, size=16), r"real images are \(1, 8, 8\) and generated ones \(1, 16, 16\).*one size="),
    (pictures(9)[0], r"generated images: .*\(n, c, h, w\)"),
    (pictures(9) * math.nan, "generated images: .*NaN"),
]


@pytest.mark.parametrize(("fake", "words"), REFUSED)
def test_images_that_do_not_compare_are_refused(fake: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        metrics.compare(pictures(9), fake, Means(), name="means")


def test_images_that_the_network_does_not_take_are_refused() -> None:
    sized = nets.Classifier(size=28, width=4, d=8)
    with pytest.raises(ValueError, match=r"mine looks at 28 x 28 pixels, but the images are \(1, 8, 8\); .*size=28"):
        metrics.compare(pictures(9), pictures(9), sized, name="mine")
    with pytest.raises(ValueError, match="mine looks at 1 channels, but the images have 3"):
        metrics.compare(pictures(9, channels=3), pictures(9, channels=3), sized, name="mine")
    with pytest.raises(ValueError, match=r"mine fails on images \(1, 8, 8\): .*expected.*3 channels"):
        metrics.compare(pictures(9), pictures(9), nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten()), name="mine")
    with pytest.raises(ValueError, match=r"mine fails on images \(1, 8, 8\): .*not features"):
        metrics.compare(pictures(9), pictures(9), nn.Conv2d(1, 2, 3), name="mine")


# ---------------------------------------------------------------------------------------------------- networks by name


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's, in the working folder."""
    name = "my_judges_of_pictures"
    (tmp_path / f"{name}.py").write_text(
        "from torch import nn\n"
        "def make(width=3): return nn.Sequential(nn.Flatten(), nn.Linear(64, width))\n"
        "ready = make(5)\n"
        "def needs(width): return make(width)\n"
        "def number(): return 3\n"
        "constant = 3\n"
        "def fails(): raise TypeError('inside')\n",
        encoding="utf-8",
    )
    (tmp_path / "my_broken_judges.py").write_text("import a_package_that_is_not_there\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_networks_of_ones_own_are_found_in_the_working_folder(module: str) -> None:
    path = list(sys.path)
    for attribute, width in (("make", 3), ("ready", 5)):
        net, name = metrics.resolve_net(f"{module}:{attribute}")
        assert name == f"{module}:{attribute}"
        found = metrics.compare(pictures(9), pictures(9, seed=1), net, name=name)
        assert (found["features"], found["dimensions"]) == (name, width)
    assert sys.path == path


def test_factories_of_installed_packages_are_found() -> None:
    assert isinstance(metrics.resolve_net("genlab.nets:Classifier").net, nets.Classifier)


@pytest.mark.parametrize("spec", ["", "classifier", "classifier:", ":make", "inception", "inception:"])
def test_names_of_another_form_are_refused(spec: str) -> None:
    with pytest.raises(ValueError, match=r"neither package.module:factory.* nor inception:FILE"):
        metrics.resolve_net(spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("no_such_module_at_all:make", "No module named 'no_such_module_at_all'; run where the module lies"),
        ("my_broken_judges:make", "No module named 'a_package_that_is_not_there'"),
        ("{}:absent", "has no 'absent'"),
        ("{}:needs", "called without arguments, but: missing a required argument: 'width'"),
        ("{}:number", "returned a int, but a torch.nn.Module is needed"),
        ("{}:constant", "is a int; name a function that returns a network"),
    ],
)
def test_networks_that_cannot_be_made_are_refused(spec: str, words: str, module: str) -> None:
    with pytest.raises(ValueError, match=words):
        metrics.resolve_net(spec.format(module))


def test_an_error_inside_a_factory_is_its_own(module: str) -> None:
    with pytest.raises(TypeError, match="inside"):
        metrics.resolve_net(f"{module}:fails")


# ----------------------------------------------------------------------------------------------------------- Inception


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the form of torch-fidelity's release, which tests cannot download."""
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    class Blank(theirs.FeatureExtractorInceptionV3):
        def load_state_dict(self, *args: Any, **kwargs: Any) -> None:
            """Keep the weights of the start."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "load_state_dict_from_url", lambda *args, **kwargs: {})
        net = Blank("inception", ["2048"])
    path = tmp_path_factory.mktemp("inception") / "weights-inception.pth"
    torch.save(net.state_dict(), path)
    return path


def test_inception_sees_bytes_of_any_size_in_colour_or_grey(weights: Path) -> None:
    net, name = metrics.resolve_net(f"inception:{weights}")
    assert name == "Inception v3 (weights-inception.pth)"
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    seen: list[Tensor] = []
    net.extractor.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    grey = (255 * pictures(2, size=20)).round().byte()
    rows = metrics.features(net, data.to_float(grey))
    assert rows.shape == (2, 2048) and rows.isfinite().all() and rows.std() > 0
    assert seen[0].dtype == torch.uint8 and torch.equal(seen[0], grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(metrics.features(net, data.to_float(grey).expand(-1, 3, -1, -1)), rows)
    with pytest.raises(ValueError, match=r"\(n, 3, h, w\), or grey .* but got \(2, 2, 20, 20\)"):
        metrics.features(net, data.to_float(grey).expand(-1, 2, -1, -1))


def test_a_comparison_in_inceptions_features(weights: Path) -> None:
    net, name = metrics.resolve_net(f"inception:{weights}")
    found = metrics.compare(pictures(6, channels=3), pictures(6, channels=3, seed=1), net, name=name)
    assert (found["features"], found["dimensions"]) == (name, 2048)


class Trap:
    """Something that runs when a file is opened by the full unpickler."""

    sprung = False

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return spring, ()


def spring() -> None:
    Trap.sprung = True


def test_files_that_are_no_weights_of_inception_are_refused_and_run_nothing(tmp_path: Path) -> None:
    for name, content in (("trap.pth", {"a": Trap()}), ("other.pth", nn.Linear(2, 2).state_dict()), ("list.pth", [1])):
        torch.save(content, tmp_path / name)
    (tmp_path / "text.pth").write_text("no weights", encoding="utf-8")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name in ("trap.pth", "other.pth", "list.pth", "text.pth", "empty.pth"):
        with pytest.raises(ValueError, match=r"\.pth holds no weights of torch-fidelity's Inception .*6726825d.pth"):
            metrics.inception(tmp_path / name)
    assert not Trap.sprung
    with pytest.raises(ValueError, match=r"there is no file .*absent.pth; .*not downloaded"):
        metrics.inception(tmp_path / "absent.pth")


def test_without_torch_fidelity_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(ValueError, match="pip install torch-fidelity"):
        metrics.inception(tmp_path / "any.pth")

"""The codebook, the VQ-VAE and its player, against formulas computed by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli

from genlab import nets, vq


def pixels(n: int = 4) -> Tensor:
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(1)).round()


def quantiser(k: int = 5, d: int = 3, **options: float) -> vq.Quantiser:
    torch.manual_seed(4)
    return vq.Quantiser(k, d, **options)


def test_quantiser_chooses_the_nearest_code() -> None:
    q = quantiser().eval()
    h = torch.randn(2, 3, 4, 6)
    found = q(h)
    for i in range(2):
        for r in range(4):
            for c in range(6):
                distances = [(h[i, :, r, c] - e).square().sum().item() for e in q.codebook]
                assert found.codes[i, r, c] == int(np.argmin(distances))
                torch.testing.assert_close(found.z[i, :, r, c], q.codebook[found.codes[i, r, c]])
    torch.testing.assert_close(q.lookup(found.codes), found.z)


def test_straight_through_gradient_and_commitment() -> None:
    q = quantiser().eval()
    h = torch.randn(2, 3, 4, 4, requires_grad=True)
    found, weight = q(h), torch.randn(2, 3, 4, 4)
    (gradient,) = torch.autograd.grad((found.z * weight).sum(), h, retain_graph=True)
    torch.testing.assert_close(gradient, weight)  # as if the quantiser were the identity
    e = q.lookup(found.codes)
    torch.testing.assert_close(found.commitment, (h - e).square().sum((1, 2, 3)))
    (gradient,) = torch.autograd.grad(found.commitment.sum(), h)
    torch.testing.assert_close(gradient, 2 * (h - e).detach())
    assert list(q.parameters()) == []  # the codebook learns by moving averages alone


def test_moving_averages_equal_a_hand_computation() -> None:
    decay = 0.9
    q = quantiser(decay=decay, restart=0.0)
    codebook = q.codebook.double().numpy().copy()
    count, total = np.ones(5), codebook.copy()
    for _ in range(3):
        h = torch.randn(2, 3, 4, 4)
        rows = h.permute(0, 2, 3, 1).reshape(-1, 3).double().numpy()
        codes = np.argmin(((rows[:, None] - codebook[None]) ** 2).sum(2), 1)
        found = q(h)
        assert found.codes.flatten().tolist() == codes.tolist()
        # what the decoder sees is the nearest vector of the codebook as it was
        seen = found.z.permute(0, 2, 3, 1).reshape(-1, 3)
        np.testing.assert_allclose(seen, codebook[codes], rtol=1e-4, atol=1e-5)
        for j in range(5):
            mine = rows[codes == j]
            count[j] = decay * count[j] + (1 - decay) * len(mine)
            total[j] = decay * total[j] + (1 - decay) * mine.sum(0)
        codebook = total / count[:, None]
        np.testing.assert_allclose(q.codebook, codebook, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(q.count, count, rtol=1e-5)


def test_without_memory_the_update_is_a_step_of_k_means() -> None:
    q = quantiser(k=3, decay=0.0, restart=0.5)
    h = torch.randn(4, 3, 5, 5)
    codes = q(h).codes
    rows, codes = h.permute(0, 2, 3, 1).reshape(-1, 3), codes.flatten()
    for j in codes.unique():
        torch.testing.assert_close(q.codebook[j], rows[codes == j].mean(0))


def test_dead_codes_restart_at_vectors_of_the_batch() -> None:
    q = quantiser(restart=0.5)
    q.count.copy_(torch.tensor([1.0, 0.5, 0.505, 1.0, 0.3]))
    q.total.copy_(q.codebook * q.count[:, None])
    with torch.no_grad():
        q.codebook[1:] += 100  # codes 1 to 4 are too far away to be chosen
        q.total[1:] += 100 * q.count[1:, None]
    before = q.codebook.clone()
    h = torch.randn(2, 3, 4, 4)
    found = q(h)
    rows = h.permute(0, 2, 3, 1).reshape(-1, 3)
    assert found.codes.unique().tolist() == [0]
    torch.testing.assert_close(found.z, before[0].view(1, 3, 1, 1).expand_as(found.z))
    for j in (1, 2, 4):  # 0.99 times 0.5, 0.505 and 0.3 lies below 0.5
        assert (rows == q.codebook[j]).all(1).any()
        assert q.count[j] == 1 and torch.equal(q.total[j], q.codebook[j])
    torch.testing.assert_close(q.codebook[3], before[3])  # unused, but not yet dead
    assert q.count[3].item() == pytest.approx(0.99)


def test_a_code_that_is_never_used_stays_where_it_is() -> None:
    q = quantiser(k=2, decay=0.5, restart=0.0)
    q.codebook[1] = q.total[1] = 1e3
    for _ in range(200):  # 0.5²⁰⁰ is zero in float32
        q(torch.randn(1, 3, 2, 2))
    assert q.count[1] < 1e-30
    torch.testing.assert_close(q.codebook[1], torch.full((3,), 1e3))


def test_in_evaluation_mode_nothing_moves() -> None:
    q = quantiser().eval()
    before = {name: value.clone() for name, value in q.state_dict().items()}
    state = torch.get_rng_state()
    q(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(value, before[name]) for name, value in q.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_under_bf16_the_codebook_is_averaged_in_float32() -> None:
    q, reference = quantiser(), quantiser()
    h = torch.randn(2, 3, 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = q(h)
    reference(h.float())
    assert found.z.dtype == torch.float32
    torch.testing.assert_close(q.codebook, reference.codebook)


def test_vqvae_player_minimises_the_hand_computed_loss() -> None:
    net = vq.VQVAE(nets.GridEncoder(4, width=4), vq.Quantiser(6, 4), nets.GridDecoder(4, width=4))
    optimizer = torch.optim.SGD(net.parameters(), 1e-4)
    player = vq.player(net, optimizer, commitment=0.5)
    assert player.name == "VQVAE" and player.replace(clip=2.0).clip == 2.0
    net.eval()
    x = pixels()
    h = net.encoder(x)
    codes = torch.cdist(h.flatten(2).transpose(1, 2), net.quantiser.codebook).argmin(2).view(4, *h.shape[2:])
    e = net.quantiser.lookup(codes)
    log_px = Bernoulli(logits=net.decoder(e)).log_prob(x).sum((1, 2, 3))
    expected = (0.5 * (h - e).square().sum((1, 2, 3)) - log_px).mean()
    torch.testing.assert_close(player.loss(x, 1), expected)
    out, quantised = net(x)
    assert out.shape == x.shape and torch.equal(quantised.codes, codes)
    player.loss(x, 1).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())  # through the quantiser too


def test_the_player_refuses_pixels_that_its_likelihood_does_not_know() -> None:
    net = vq.VQVAE(nets.GridEncoder(4, width=4), vq.Quantiser(6, 4), nets.GridDecoder(4, width=4))
    player = vq.player(net, torch.optim.SGD(net.parameters(), 1e-4))
    with pytest.raises(ValueError, match=r'ranges from -1 to 1, .*pixels="binary"'):
        player.loss(2 * pixels() - 1, 1)

"""Exercises of appendix A1, repairing a published article."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import copy

import torch
from torch import nn
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong

# ---------------------------------------------------------------------------------------------------------- the GAN


def judge_images(D, flat):
    """Logits (n,) of a convolutional D for images that come as rows (n, 784) of 28 × 28 pixels."""
    return D(flat.view(-1, 1, 28, 28)).flatten()


class _PixelD(nn.Module):
    """A tiny convolutional discriminator that tells rows from columns."""

    def __init__(self, generator):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, (3, 5), stride=4)
        self.head = nn.Linear(2 * 7 * 6, 1)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=generator) * 0.2)
        self.requires_grad_(False)

    def forward(self, x):
        if x.ndim != 4 or x.shape[1:] != (1, 28, 28):
            raise ValueError(f"D wants images (n, 1, 28, 28), but got {tuple(x.shape)}")
        return self.head(self.conv(x).flatten(1))


def _judge_by_loop(D, flat):
    return torch.stack([D(row.reshape(1, 1, 28, 28))[0, 0] for row in flat])


IMAGES = Exercise(
    number="A1.1",
    title="Flat images for a convolution",
    difficulty=1,
    minutes=5,
    task=r"""
The article flattens its images before it gives them to a convolutional discriminator, which wants `(n, 1, 28, 28)`. Write
what belongs between: images come as rows `flat` of shape `(n, 784)`, and `D` returns logits of shape `(n, 1)`. Your
function returns one logit per image, shape `(n,)`. Rows of pixels stay rows.""",
    inputs=lambda g: (_PixelD(g), torch.randn(3, 784, generator=g)),
    solution=judge_images,
    explanation=r"""
`view(-1, 1, 28, 28)` only says how the same memory is read: 784 numbers are 28 rows of 28. A convolution without that
shape either raises or, worse, treats the batch as an image. The last `flatten` turns `(n, 1)` into `(n,)`, since
`(n, 1)` beside `(n,)` broadcasts to a square in silence.""",
    hints=(
        "Print the shape that arrives and the shape that `D` asks for. How many numbers has each?",
        "`view` reads the same numbers in another shape: a batch, one channel, 28 rows, 28 columns.",
        "Call `D(flat.view(-1, 1, 28, 28))`, and flatten the `(n, 1)` that it returns.",
    ),
    wrong=(
        Wrong(
            "the images stay flat",
            lambda D, flat: D(flat).flatten(),
            "The images are still flat when D gets them. A convolution needs to know where the rows are.",
        ),
        Wrong(
            "rows and columns swapped",
            lambda D, flat: D(flat.view(-1, 1, 28, 28).transpose(2, 3)).flatten(),
            "Height and width are swapped: every image lies on its side.",
        ),
        Wrong(
            "a column of logits",
            lambda D, flat: D(flat.view(-1, 1, 28, 28)),
            "The logits come as a column (n, 1). Beside targets (n,) they broadcast to (n, n) without a word.",
        ),
        Wrong(
            "one number for the batch",
            lambda D, flat: D(flat.view(-1, 1, 28, 28)).mean(),
            "One number for the whole batch came. Every image has a logit of its own.",
        ),
    ),
    right=(_judge_by_loop, lambda D, flat: D(flat.unflatten(1, (1, 28, 28))).squeeze(1)),
)


def make_optimizers(G, D, lr):
    """An Adam for each player, over its own parameters, betas (0.5, 0.999): returns (opt_g, opt_d)."""
    opt_g = torch.optim.Adam(G.parameters(), lr=lr, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(D.parameters(), lr=lr, betas=(0.5, 0.999))
    return opt_g, opt_d


def _steps(make, which):
    """Which of the two networks an optimiser moves, and how."""
    g = torch.Generator().manual_seed(0)
    G, D = _linear(g, 2, 3), _linear(g, 3, 1)
    before = copy.deepcopy((G.state_dict(), D.state_dict()))
    for p in (*G.parameters(), *D.parameters()):
        p.grad = torch.ones_like(p)
    made = make(G, D, 0.1)
    made[which].step()
    return {
        name: {k: v - old[k] for k, v in net.state_dict().items()}
        for name, net, old in (("G", G, before[0]), ("D", D, before[1]))
    }


def _linear(generator, i, o):
    layer = nn.Linear(i, o)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return layer


def _both_over_d(G, D, lr):
    return tuple(torch.optim.Adam(D.parameters(), lr=lr, betas=(0.5, 0.999)) for _ in range(2))


def _both_over_all(G, D, lr):
    everything = [*G.parameters(), *D.parameters()]
    return tuple(torch.optim.Adam(everything, lr=lr, betas=(0.5, 0.999)) for _ in range(2))


def _swapped(G, D, lr):
    return make_optimizers(D, G, lr)


def _sgd(G, D, lr):
    return tuple(torch.optim.SGD(net.parameters(), lr=lr) for net in (G, D))


def _by_groups(G, D, lr):
    return tuple(torch.optim.Adam([{"params": list(n.parameters())}], lr=lr, betas=(0.5, 0.999)) for n in (G, D))


def _settings(make):
    made = make(nn.Linear(2, 3), nn.Linear(3, 1), 0.02)
    return [tuple(o.param_groups[0].get("betas", ())) for o in made], [o.param_groups[0]["lr"] for o in made]


OPTIMIZERS = Exercise(
    number="A1.2",
    title="Two players, two optimisers",
    difficulty=1,
    minutes=5,
    task=r"""
The article makes one optimiser, over the discriminator's parameters, and steps it for both players. The generator's loss
is computed, its gradient is computed, and nothing ever moves the generator. Return two Adam optimisers with learning rate
`lr` and betas (0.5, 0.999): the first moves `G` alone, the second `D` alone.""",
    inputs=lambda g: (_linear(g, 2, 3), _linear(g, 3, 1), 0.01),
    solution=make_optimizers,
    explanation=r"""
An optimiser moves exactly the tensors that it was made with, whatever has a gradient. Two players with two objectives
need two of them: one optimiser over everything would let each player's step move the other towards its own loss.""",
    hints=(
        "An optimiser moves the parameters it was given, and no others. Which were given in the article?",
        "Two optimisers: one is made with `G.parameters()`, the other with `D.parameters()`.",
        "`torch.optim.Adam(G.parameters(), lr=lr, betas=(0.5, 0.999))`, the same for `D`, returned in this order.",
    ),
    wrong=(
        Wrong(
            "both over the discriminator",
            _both_over_d,
            "Both optimisers hold D's parameters: this is the article's fault. Its generator stays at its random start.",
        ),
        Wrong(
            "both over everything",
            _both_over_all,
            "Each optimiser holds the parameters of both players, so each step moves both. The game has one mover a step.",
        ),
        Wrong("in the wrong order", _swapped, "The order is (opt_g, opt_d): the first must move the generator."),
        Wrong("plain gradient descent", _sgd, "These are not Adam, so the steps have another size."),
    ),
    right=(_by_groups,),
    look=lambda made: [
        (type(o).__name__, o.param_groups[0]["lr"], [p.numel() for g in o.param_groups for p in g["params"]])
        for o in made
    ],
    probes={
        "what the first optimiser moves": lambda f: _steps(f, 0),
        "what the second optimiser moves": lambda f: _steps(f, 1),
        "betas and learning rates": _settings,
    },
)


def to_range(a):
    """Map any real output to the range of images in [−1, 1], smoothly: same shape."""
    return torch.tanh(a)


RANGE = Exercise(
    number="A1.3",
    title="An output with the range of the data",
    difficulty=1,
    minutes=3,
    task=r"""
The article scales its images to $[-1, 1]$, but its generator ends in a linear map whose output has no bounds. A
discriminator then tells real from generated by the range alone. Write the last step of a generator: it maps any number
smoothly and monotonically into $(-1, 1)$, 0 to 0, with slope 1 at 0, so that gradients survive.""",
    inputs=lambda g: (2 * torch.randn(4, 3, generator=g),),
    solution=to_range,
    explanation=r"""
$\tanh$ has all of these properties. Clamping has the right range, but its slope is 0 outside: a generator that starts
there never learns. A sigmoid would end in $(0, 1)$ and could not draw the black that is $-1$.""",
    hints=(
        "Which well-known function has the limits −1 and 1, and slope 1 at 0?",
        "A sigmoid ends between 0 and 1. Stretched and shifted to (−1, 1) it is a function with a name of its own.",
        "It is the hyperbolic tangent, `torch.tanh`.",
    ),
    wrong=(
        Wrong(
            "a sigmoid", torch.sigmoid, "This ends between 0 and 1: half of the range of the data can never be drawn."
        ),
        Wrong(
            "clamped",
            lambda a: a.clamp(-1, 1),
            "The range is right, but the slope is 0 outside of it: whatever lands there gets no gradient back.",
        ),
        Wrong("nothing", lambda a: a + 0, "This has no bounds: it is the article's generator."),
        Wrong(
            "a sigmoid, stretched",
            lambda a: 2 * torch.sigmoid(a) - 1,
            "The range is right. The slope at 0 is one half; tanh(a) is this function at 2a.",
        ),
    ),
    right=(lambda a: 2 * torch.sigmoid(2 * a) - 1,),
    probes={"large inputs": lambda f: f(torch.tensor([-50.0, 0.0, 50.0]))},
    gradient=True,
)


def sample(G, n, z_dim, device):
    """n images of G from standard normal noise, made on the device where G is."""
    z = torch.randn(n, z_dim, device=device)
    return G(z)


class _Where(nn.Module):
    """Stands for a generator: returns where its noise is, and how it looks."""

    def __init__(self, z_dim):
        super().__init__()
        self.z_dim = z_dim

    def forward(self, z):
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"G wants noise (n, {self.z_dim}), but got {tuple(z.shape)}")
        return z


_GLOBAL = _Where(9)


def _sample_on_cpu(G, n, z_dim, device):
    return G(torch.randn(n, z_dim))


def _sample_from_global(G, n, z_dim, device):
    return _GLOBAL(torch.randn(n, 9, device=device))[:, :z_dim]


def _sample_uniform(G, n, z_dim, device):
    return G(torch.rand(n, z_dim, device=device))


def _sample_one(G, n, z_dim, device):
    return G(torch.randn(1, z_dim, device=device))


def _sample_moved(G, n, z_dim, device):
    return G(torch.randn(n, z_dim).to(device))


def _device_of(f):
    return str(f(_Where(3), 2, 3, torch.device("meta")).device)


def _first_moments(f):
    z = f(_Where(5), 20_000, 5, "cpu")
    return [(z.mean().abs() < 0.02).item(), ((z.std() - 1).abs() < 0.02).item()]


def _own_generator(f):
    return f(_Double(), 2, 4, "cpu").detach().abs().sum().item()


class _Double(nn.Module):
    """A generator whose output tells that it was the one that was called."""

    def forward(self, z):
        return 0 * z + 7


DEVICE = Exercise(
    number="A1.4",
    title="Arguments, not globals; one device",
    difficulty=2,
    minutes=8,
    task=r"""
The article's training function takes a `model` and then uses global names, and its generator is never moved to the
device. It runs on its author's machine, until it does not. Write the sampling step so that it uses nothing but its
arguments: $n$ vectors of standard normal noise of length `z_dim`, made on `device`, go through `G`.""",
    inputs=lambda g: (_Where(4), 3, 4, torch.device("cpu")),
    solution=sample,
    explanation=r"""
A tensor made without `device=` is on the CPU. On a machine without a GPU that is never noticed. Here it is noticed
without a GPU too: torch's `meta` device stands in for one. A function that only uses its arguments can be called with
another network, tested with a small one, and read without knowing the rest of the program.""",
    hints=(
        "Which of the four arguments does your function use? It needs all of them, and nothing else.",
        "`torch.randn` takes the device as an argument of its own.",
        "`z = torch.randn(n, z_dim, device=device)`, and then `G(z)`.",
    ),
    wrong=(
        Wrong(
            "noise on the CPU",
            _sample_on_cpu,
            "The noise is made on the CPU, whatever the device. With G on a GPU this is the error that readers report.",
        ),
        Wrong(
            "a global network", _sample_from_global, "The network that was passed is not used, but one from outside."
        ),
        Wrong("uniform noise", _sample_uniform, "The noise is uniform on [0, 1). Standard normal noise was asked for."),
        Wrong("one sample", _sample_one, "One sample came, whatever n is."),
    ),
    right=(_sample_moved,),
    probes={
        "the device of the noise": _device_of,
        "whether 100,000 numbers have mean 0 and standard deviation 1": _first_moments,
        "whether the network that was passed is used": _own_generator,
    },
)


def linear_covariance(W):
    """Covariance of G(z) = W z + b for z ~ N(0, I): W of shape (d, k) -> (d, d)."""
    return W @ W.T


LINEAR = Exercise(
    number="A1.5",
    title="What a linear generator can draw",
    difficulty=2,
    minutes=10,
    task=r"""
The article's generator is one linear layer, $G(z) = Wz + b$. An affine image of a Gaussian is a Gaussian, and its mean is
$b$. What is its covariance? With $k$ noise dimensions and $d$ pixels, $W$ has shape `(d, k)` and the covariance `(d, d)`,
of rank at most $k$. So the best such generator is a Gaussian with the covariance of the data: principal component
analysis, and nothing that a digit is made of.""",
    inputs=lambda g: (torch.randn(4, 2, generator=g),),
    solution=linear_covariance,
    explanation=r"""
$\operatorname{Cov}[Wz + b] = \mathbb E[Wz z^\top W^\top] = W\,\mathbb E[zz^\top]\,W^\top = WW^\top$, by linearity and
because $\mathbb E[zz^\top] = I$. The constant $b$ moves the mean and leaves the covariance alone.""",
    hints=(
        "A covariance is $\\mathbb E[(x - \\mathbb E x)(x - \\mathbb E x)^\\top]$. What is $x - \\mathbb E x$ here?",
        "It is $Wz$. Take $W$ out of the expectation on both sides; what is $\\mathbb E[zz^\\top]$?",
        "What is left is `W @ W.T`.",
    ),
    wrong=(
        Wrong(
            "the noise's side",
            lambda W: W.T @ W,
            "This has the shape (k, k) of the noise. The covariance of the images is (d, d): W stands on the left.",
        ),
        Wrong(
            "divided by k",
            lambda W: W @ W.T / W.shape[1],
            "Nothing is averaged here: the covariance of the noise is exactly the identity. Leave out the division.",
        ),
        Wrong(
            "centred",
            lambda W: torch.cov(W),
            "This takes the columns of W for samples. The noise is what varies; W is fixed.",
        ),
        Wrong(
            "standard deviations", lambda W: (W**2).sum(1).sqrt(), "These are the standard deviations of single pixels."
        ),
    ),
    right=(lambda W: sum(torch.outer(w, w) for w in W.T),),
    probes={
        "the rank with one noise dimension": lambda f: int(torch.linalg.matrix_rank(f(torch.arange(1.0, 4)[:, None])))
    },
)


def d_loss(real, fake):
    """−mean log σ(real) − mean log(1 − σ(fake)), exact for logits of any size: 0-d."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _d_by_bce(real, fake):
    ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
    return F.binary_cross_entropy_with_logits(real, ones) + F.binary_cross_entropy_with_logits(fake, zeros)


def _d_by_sigmoid(real, fake):
    return -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean()


def _d_sigmoid_bce(real, fake):
    p, q = torch.sigmoid(real), torch.sigmoid(fake)
    return F.binary_cross_entropy(p, torch.ones_like(p)) + F.binary_cross_entropy(q, torch.zeros_like(q))


LOGITS = Exercise(
    number="A1.6",
    title="Logits, not probabilities",
    difficulty=2,
    minutes=8,
    task=r"""
The article's discriminator ends in a sigmoid, followed by a binary cross-entropy. In floating point $\sigma(40)$ is
exactly 1: the loss saturates, or becomes infinite, and the gradient is lost. Write the discriminator's loss from logits:
$-\mathbb E[\log\sigma(\text{real})] - \mathbb E[\log(1 - \sigma(\text{fake}))]$, for batches of different sizes, exact and
with its gradient at logits of ±200.""",
    inputs=lambda g: (torch.randn(5, generator=g), torch.randn(3, generator=g)),
    solution=d_loss,
    explanation=r"""
$-\log\sigma(a) = \log(1 + e^{-a}) = \operatorname{softplus}(-a)$, and $-\log(1-\sigma(a)) = \operatorname{softplus}(a)$.
Softplus is computed without ever forming $e^{200}$, and its derivative is a sigmoid, which is right everywhere.""",
    hints=(
        "Write both logarithms of sigmoids as $\\log(1 + e^{\\dots})$.",
        "That function is called softplus. Which argument has it for the real logits, and which for the fake ones?",
        "`F.softplus(-real).mean() + F.softplus(fake).mean()`: one mean for each batch.",
    ),
    wrong=(
        Wrong(
            "log of a sigmoid",
            _d_by_sigmoid,
            "At logits of ±200 the sigmoid is exactly 0 or 1, and the logarithm infinite. Stay with logits.",
        ),
        Wrong(
            "sigmoid and then cross-entropy",
            _d_sigmoid_bce,
            "This is the article's way. torch clamps the logarithm at −100 then, so a loss of 200 is reported as 100, "
            "and the gradient there is wrong.",
        ),
        Wrong(
            "real and fake swapped",
            lambda real, fake: F.softplus(real).mean() + F.softplus(-fake).mean(),
            "Real and fake are swapped: this discriminator learns to call generated images real.",
        ),
        Wrong(
            "half of it",
            lambda real, fake: (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2,
            "This is half of the loss. At equality the loss is 2 log 2; with the half it would be log 2.",
        ),
        Wrong(
            "one mean over both",
            lambda real, fake: torch.cat([F.softplus(-real), F.softplus(fake)]).mean(),
            "One mean runs over both batches. Each expectation has its own; the batches differ in size.",
        ),
    ),
    right=(_d_by_bce, lambda real, fake: -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean()),
    probes={
        "the loss at confident mistakes": lambda f: f(torch.tensor([-200.0]), torch.tensor([200.0, 200.0])),
        "the loss where D knows nothing": lambda f: f(torch.zeros(4), torch.zeros(2)),
    },
    gradient=True,
)


def g_losses(fake):
    """The generator's saturating and non-saturating loss from logits (n,): two 0-d values."""
    return -F.softplus(fake).mean(), F.softplus(-fake).mean()


def _slopes(f):
    """Derivatives of both losses at a logit that says: generated, for sure."""
    a = torch.tensor([-10.0], requires_grad=True)
    return [torch.autograd.grad(loss, a, retain_graph=True)[0].item() for loss in f(a)]


SATURATING = Exercise(
    number="A1.7",
    title="Two losses for the generator",
    difficulty=2,
    minutes=8,
    task=r"""
The article's text gives the generator's loss as $\mathbb E[\log(1 - D(G(z)))]$; its code minimises
$-\mathbb E[\log D(G(z))]$, and does not say so. Write both from the logits of generated images, in this order. Both want
the same, but compare their gradients at a logit of −10, where a young generator lives.""",
    inputs=lambda g: (torch.randn(6, generator=g),),
    solution=g_losses,
    explanation=r"""
With $D = \sigma(a)$ the first is $-\operatorname{softplus}(a)$, with derivative $-\sigma(a)$: at $a = -10$ that is
$-0.00005$, and the generator stands still. The second is $\operatorname{softplus}(-a)$, with derivative $-\sigma(-a)$,
nearly $-1$ there. They have the same fixed point and different roads.""",
    hints=(
        "Use logits: what are $\\log(1-\\sigma(a))$ and $\\log\\sigma(a)$ in terms of softplus?",
        "$\\log(1-\\sigma(a)) = -\\operatorname{softplus}(a)$ and $-\\log\\sigma(a) = \\operatorname{softplus}(-a)$.",
        "Return `-F.softplus(fake).mean()` and `F.softplus(-fake).mean()`.",
    ),
    wrong=(
        Wrong(
            "in the other order",
            lambda fake: g_losses(fake)[::-1],
            "The order is swapped: the saturating loss, that of the formula in the text, comes first.",
        ),
        Wrong(
            "the discriminator's share",
            lambda fake: (F.softplus(fake).mean(), F.softplus(-fake).mean()),
            "The first has the wrong sign: minimised, it would make the generator worse.",
        ),
        Wrong(
            "the same twice",
            lambda fake: (F.softplus(-fake).mean(), F.softplus(-fake).mean()),
            "Both are the non-saturating loss. They are different functions with the same fixed point.",
        ),
        Wrong(
            "probabilities for logarithms",
            lambda fake: ((1 - torch.sigmoid(fake)).mean(), -torch.sigmoid(fake).mean()),
            "The logarithms are missing: these are probabilities.",
        ),
    ),
    right=(lambda fake: (F.logsigmoid(-fake).mean(), -F.logsigmoid(fake).mean()),),
    probes={"the derivatives at a logit of −10": _slopes},
    gradient=True,
)

# ---------------------------------------------------------------------------------------------------------- the VAE


def two_heads(h, W_mu, b_mu, W_logvar, b_logvar):
    """(mu, logvar) from hidden units h (n, m), by two linear heads with weights (d, m) and biases (d,): each (n, d)."""
    return F.linear(h, W_mu, b_mu), F.linear(h, W_logvar, b_logvar)


def _heads_inputs(g):
    return tuple(torch.randn(shape, generator=g) for shape in ((2, 4), (3, 4), (3,), (3, 4), (3,)))


HEADS = Exercise(
    number="A1.8",
    title="An encoder with two heads",
    difficulty=1,
    minutes=8,
    task=r"""
The article's encoder returns one vector per image, and `mu, logvar = encoder(x)` unpacks it. With two images in a batch
that runs: it unpacks the *batch*, and calls the first image's vector `mu` and the second's `logvar`. Write the two heads:
$\mu = W_\mu h + b_\mu$ and $\log\sigma^2 = W_v h + b_v$, each of shape `(n, d)`.""",
    inputs=_heads_inputs,
    solution=two_heads,
    explanation=r"""
The posterior of each image has a mean *and* a spread, so the encoder needs two outputs of $d$ numbers. One linear layer
with $2d$ outputs, cut by `chunk(2, 1)`, is the same. The obvious repair, one head and no KL, runs too: it is a plain
autoencoder, and it does not generate.""",
    hints=(
        "How many numbers has $q(z \\mid x)$ per image, if $z$ has $d$ dimensions and the covariance is diagonal?",
        "Both heads see the same hidden units. `F.linear(h, W, b)` is $hW^\\top + b$.",
        "Return `F.linear(h, W_mu, b_mu)` and the same with the other pair of weights.",
    ),
    wrong=(
        Wrong(
            "unpacking the batch",
            lambda h, W_mu, b_mu, W_logvar, b_logvar: tuple(F.linear(h, W_mu, b_mu)),
            "This unpacks the batch: the first image's vector is called mu and the second's logvar. That is the "
            "article's fault, and with a batch of two it raises nothing.",
        ),
        Wrong(
            "one head twice",
            lambda h, W_mu, b_mu, W_logvar, b_logvar: (F.linear(h, W_mu, b_mu), F.linear(h, W_mu, b_mu)),
            "Both come from one head: the spread is not free, it is tied to the mean.",
        ),
        Wrong(
            "the heads swapped",
            lambda h, W_mu, b_mu, W_logvar, b_logvar: (F.linear(h, W_logvar, b_logvar), F.linear(h, W_mu, b_mu)),
            "The heads are swapped: the order is (mu, logvar), everywhere.",
        ),
        Wrong(
            "a variance",
            lambda h, W_mu, b_mu, W_logvar, b_logvar: (F.linear(h, W_mu, b_mu), F.linear(h, W_logvar, b_logvar).exp()),
            "The second head returns the variance. The logarithm is wanted: it may be any number, so a linear map fits.",
        ),
    ),
    right=(
        lambda h, W_mu, b_mu, W_logvar, b_logvar: F.linear(
            h, torch.cat([W_mu, W_logvar]), torch.cat([b_mu, b_logvar])
        ).chunk(2, 1),
    ),
    gradient=True,
)


def decode_prior(decoder, n, z_dim):
    """n images: z from the prior N(0, I), then pixel probabilities from the decoder's logits."""
    z = torch.randn(n, z_dim)
    return torch.sigmoid(decoder(z))


class _Logits(nn.Module):
    def forward(self, z):
        if z.ndim != 2 or z.shape[1] != 3:
            raise ValueError(f"the decoder wants z of shape (n, 3), but got {tuple(z.shape)}")
        return torch.cat([z, -z], 1)


def _spread(f):
    """Standard deviation of what the decoder was given, to a few per cent."""
    p = f(_Logits(), 20_000, 3)[:, :3].double().clamp(1e-9, 1 - 1e-9)
    z = torch.logit(p)
    return [((z.std() - 1).abs() < 0.03).item(), (z.mean().abs() < 0.03).item()]


SAMPLE = Exercise(
    number="A1.9",
    title="The method that does not exist",
    difficulty=1,
    minutes=5,
    task=r"""
The article calls `model.sample`, `compute_reconstruction_loss` and `dataset.train_dataloader`. None of them exists. Write
the sampling: draw $n$ vectors $z$ of length `z_dim` from the prior $\mathcal N(0, I)$, decode them, and return pixel
probabilities. The decoder returns logits.""",
    inputs=lambda g: (_Logits(), 4, 3),
    solution=decode_prior,
    explanation=r"""
A VAE generates by its own definition: $z \sim p(z)$, then $x \sim p(x \mid z)$. No encoder is involved. What is shown as
"samples" are usually the means of $p(x \mid z)$, that is the probabilities of the pixels; the logits pass a sigmoid once.""",
    hints=(
        "Which distribution does a VAE draw z from when there is no image?",
        "From the prior: standard normal. Then the decoder, and from logits to probabilities.",
        "`torch.sigmoid(decoder(torch.randn(n, z_dim)))`.",
    ),
    wrong=(
        Wrong(
            "logits for pixels",
            lambda decoder, n, z_dim: decoder(torch.randn(n, z_dim)),
            "These are logits, not probabilities: they lie outside of [0, 1].",
        ),
        Wrong(
            "uniform z",
            lambda decoder, n, z_dim: torch.sigmoid(decoder(torch.rand(n, z_dim))),
            "z is drawn uniformly from [0, 1). The prior is the standard normal.",
        ),
        Wrong(
            "the same z",
            lambda decoder, n, z_dim: torch.sigmoid(decoder(torch.randn(1, z_dim).expand(n, z_dim))),
            "All images come from one z.",
        ),
        Wrong(
            "z = 0",
            lambda decoder, n, z_dim: torch.sigmoid(decoder(torch.zeros(n, z_dim))),
            "z is the prior's mean every time, so every sample is the same.",
        ),
    ),
    right=(lambda decoder, n, z_dim: decoder(torch.randn(n, z_dim)).sigmoid(),),
    probes={
        "whether z has mean 0 and standard deviation 1": _spread,
        "whether images differ": lambda f: bool((f(_Logits(), 8, 3).std(0) > 0.01).all()),
    },
)


def vae_loss(x, logits, mu, logvar):
    """Minus the mean ELBO of binary images: KL − log p(x|z), sums over pixels and latents, mean over n: 0-d."""
    log_px = (x * logits - F.softplus(logits)).flatten(1).sum(1)
    kl = 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)
    return (kl - log_px).mean()


def _vae_by_bce(x, logits, mu, logvar):
    bce = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    return bce - 0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum() / len(x)


def _vae_no_kl(x, logits, mu, logvar):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


def _vae_mean(x, logits, mu, logvar):
    return F.binary_cross_entropy_with_logits(logits, x) + 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1).mean()


def _vae_minus_kl(x, logits, mu, logvar):
    return _vae_no_kl(x, logits, mu, logvar) - 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1).mean()


def _vae_sum(x, logits, mu, logvar):
    return vae_loss(x, logits, mu, logvar) * len(x)


def _vae_inputs(g):
    x, logits = torch.rand(4, 1, 3, 2, generator=g).round(), torch.randn(4, 1, 3, 2, generator=g)
    return x, logits, torch.randn(4, 3, generator=g), torch.randn(4, 3, generator=g)


LOSS = Exercise(
    number="A1.10",
    title="The loss, whole",
    difficulty=2,
    minutes=10,
    task=r"""
The article's loss is called without the reconstruction, and its KL term is missing. Write it whole: minus the ELBO of
binary images from the decoder's logits, with the KL of $q(z \mid x)$ from $\mathcal N(0, I)$, summed over pixels and over
latent dimensions, and averaged over images last.""",
    inputs=_vae_inputs,
    solution=vae_loss,
    explanation=r"""
The bound of every image is $\log p(x \mid z) - \operatorname{KL}$, in nats. The loss is minus its mean. Without the KL the
program is an autoencoder that leaves the prior behind; with a mean over pixels it is a $\beta$-VAE that nobody asked for.""",
    hints=(
        "There are two terms, and two reductions: a sum inside of an image, a mean over images.",
        "The reconstruction term from logits is $\\sum_i x_i a_i - \\operatorname{softplus}(a_i)$. The KL is in closed form.",
        "Compute `log_px` and `kl`, each `(n,)`, and return `(kl - log_px).mean()`.",
    ),
    wrong=(
        Wrong(
            "without the KL",
            _vae_no_kl,
            "The KL term is missing, as in the article: this trains a plain autoencoder, which does not generate.",
        ),
        Wrong(
            "the mean over pixels",
            _vae_mean,
            "The cross-entropy is averaged over pixels while the KL is summed: beta is multiplied by the number of pixels.",
        ),
        Wrong(
            "the KL with the wrong sign",
            _vae_minus_kl,
            "The KL is subtracted from the loss. Minimising that drives q away from the prior, without end.",
        ),
        Wrong(
            "the sum over images",
            _vae_sum,
            "The images are summed. Averaged, the loss does not depend on the batch size, and it can be read in nats.",
        ),
        Wrong(
            "the bound itself",
            lambda x, logits, mu, logvar: -vae_loss(x, logits, mu, logvar),
            "This is the ELBO. An optimiser minimises: return minus the bound.",
        ),
    ),
    right=(_vae_by_bce,),
    gradient=True,
)


def kl_terms(log_q, log_p):
    """Sampled KL(q ‖ p) at z ~ q, per sample: from log q(z|x) and log p(z), (n,) twice -> (n,)."""
    return log_q - log_p


SIGN = Exercise(
    number="A1.11",
    title="The sign of the KL",
    difficulty=1,
    minutes=5,
    task=r"""
The article writes the KL term as $\mathbb E[\log p(z) - \log q(z \mid x)]$ and adds it to the loss. Write what
$\operatorname{KL}(q \,\|\, p)$ is the expectation of, for samples $z \sim q(z \mid x)$. Its mean over many samples must not
be negative.""",
    inputs=lambda g: (torch.randn(5, generator=g), torch.randn(5, generator=g)),
    solution=kl_terms,
    explanation=r"""
$\operatorname{KL}(q \,\|\, p) = \mathbb E_q[\log q(z \mid x) - \log p(z)]$: by how much $q$ finds its own samples more
probable than $p$ does. The article has minus that. Minimised, it has no bound: the posterior shrinks and runs away. A
single sample's term may be negative; only the expectation may not.""",
    hints=(
        "Take $q$ much narrower than $p$. Which of the two finds a sample of $q$ more probable?",
        "$q$ does. A divergence is positive there, so which is subtracted from which?",
        "Return `log_q - log_p`.",
    ),
    wrong=(
        Wrong(
            "the article's sign",
            lambda log_q, log_p: log_p - log_q,
            "This is the article's sign, minus the KL: minimising it drives q away from the prior.",
        ),
        Wrong(
            "weighted by q",
            lambda log_q, log_p: log_q.exp() * (log_q - log_p),
            "The samples come from q already. Weighting them by q once more counts it twice.",
        ),
        Wrong(
            "made positive",
            lambda log_q, log_p: (log_q - log_p).abs(),
            "Single terms may be negative. Taking their absolute value makes the mean too large.",
        ),
        Wrong(
            "the cross-entropy", lambda log_q, log_p: -log_p, "The entropy of q is missing: this is a cross-entropy."
        ),
    ),
    right=(lambda log_q, log_p: -(log_p - log_q),),
    gradient=True,
)


def reconstruction_samples(mu, logvar, eps):
    """The z at which E_{q(z|x)}[log p(x|z)] is estimated: eps (k, n, d) -> (k, n, d)."""
    return mu + torch.exp(0.5 * logvar) * eps


EXPECTATION = Exercise(
    number="A1.12",
    title="An expectation over what?",
    difficulty=2,
    minutes=8,
    task=r"""
The article takes expectations "over $x$ and $z$" and does not say which distribution $z$ follows. In the reconstruction
term it is $q(z \mid x)$, and not the prior: an image is explained by the $z$ that its own encoder proposes. From `mu` and
`logvar`, each `(n, d)`, and standard normal noise `eps` of shape `(k, n, d)`, return $k$ samples $z$ for each image.""",
    inputs=lambda g: (
        torch.randn(3, 2, generator=g),
        torch.randn(3, 2, generator=g),
        torch.randn(4, 3, 2, generator=g),
    ),
    solution=reconstruction_samples,
    explanation=r"""
Under $q(z \mid x)$ the sample depends on the image, and gradients reach the encoder through it. Under the prior it would
be noise that knows nothing of $x$, the best decoder would return the mean image, and the encoder would get no gradient.
`mu` and `logvar` broadcast over the first dimension of `eps`.""",
    hints=(
        "What would the decoder learn if z came from the prior while x is a given image?",
        "z comes from $q(z \\mid x)$: shift and scale the noise. Shapes broadcast from the right.",
        "`mu + torch.exp(0.5 * logvar) * eps` has shape `(k, n, d)`.",
    ),
    wrong=(
        Wrong(
            "from the prior",
            lambda mu, logvar, eps: eps + 0 * mu + 0 * logvar,
            "These samples come from the prior and know nothing of the image: no decoder can reconstruct from them.",
        ),
        Wrong(
            "the mean alone",
            lambda mu, logvar, eps: mu + 0 * eps,
            "This is the mean for every sample. Without noise it is a plain autoencoder.",
        ),
        Wrong(
            "the variance for the standard deviation",
            lambda mu, logvar, eps: mu + logvar.exp() * eps,
            "The noise is multiplied by the variance. It has to be the standard deviation.",
        ),
        Wrong(
            "one sample for all",
            lambda mu, logvar, eps: mu + torch.exp(0.5 * logvar) * eps[0],
            "Only the first of the k noises is used.",
        ),
    ),
    right=(lambda mu, logvar, eps: torch.stack([mu + (logvar / 2).exp() * e for e in eps]),),
    gradient=True,
)


def binarise(x, u):
    """Dynamic binarisation: grey x in [0, 1] and uniform u in [0, 1), same shape -> 0 or 1 with P(1) = x."""
    return (u < x).float()


def _share(f):
    x = torch.linspace(0, 1, 11).repeat(2000, 1)
    u = torch.rand(x.shape, generator=torch.Generator().manual_seed(5))
    return (f(x, u).float().mean(0) - x[0]).abs().max().item() < 0.04


BINARISE = Exercise(
    number="A1.13",
    title="A likelihood that is one",
    difficulty=2,
    minutes=8,
    task=r"""
The article leaves the reconstruction loss undefined. Its sigmoid decoder suggests a binary cross-entropy on grey pixels,
and that is no likelihood: $\int_0^1 \lambda^x (1-\lambda)^{1-x}\,\mathrm dx$ is not 1. One honest way out is to make the
pixels binary: draw each as 1 with probability equal to its grey value. Write it for given uniform numbers `u`. A black
pixel, $x = 0$, must never be 1, and a white one, $x = 1$, must always be.""",
    inputs=lambda g: (torch.rand(4, 3, generator=g), torch.rand(4, 3, generator=g)),
    solution=binarise,
    explanation=r"""
$P(u < x) = x$ for uniform $u \in [0, 1)$. With the strict inequality a pixel of 0 is never on, even if $u = 0$, and a
pixel of 1 always is, since $u < 1$. The other honest ways are densities on $[0, 1]$: the continuous Bernoulli, a Gaussian
with a stated variance, a discretised logistic.""",
    hints=(
        "What is the probability that a uniform number lies below 0.3?",
        "Compare `u` with `x`, entry by entry, and turn the truth values into numbers.",
        "`(u < x).float()`: strictly smaller, so that 0 never becomes 1.",
    ),
    wrong=(
        Wrong(
            "a threshold",
            lambda x, u: (x > 0.5).float(),
            "This is a fixed threshold: grey values below one half never become 1. It is another data set.",
        ),
        Wrong(
            "the other way round",
            lambda x, u: (u > x).float(),
            "The comparison is the wrong way round: this is a negative of the image.",
        ),
        Wrong("grey as before", lambda x, u: x + 0 * u, "The pixels are as grey as before."),
        Wrong(
            "not strict",
            lambda x, u: (u <= x).float(),
            "With ≤ a black pixel can become 1, when u is exactly 0.",
        ),
    ),
    right=(lambda x, u: torch.where(u < x, torch.ones_like(x), torch.zeros_like(x)), lambda x, u: (x - u > 0).float()),
    probes={
        "black pixels at u = 0": lambda f: f(torch.zeros(1, 3), torch.zeros(1, 3)),
        "white pixels at the largest u": lambda f: f(torch.ones(1, 3), torch.full((1, 3), 1 - 2**-24)),
        "whether the share of ones is the grey value": _share,
    },
)


def epoch_loss(losses, sizes):
    """Mean loss per image over an epoch, from batch means (m,) and batch sizes (m,): 0-d."""
    return (losses * sizes).sum() / sizes.sum()


REPORT = Exercise(
    number="A1.14",
    title="What an epoch reports",
    difficulty=3,
    minutes=30,
    task=r"""
The article seeds nothing, evaluates nothing, and prints the last batch's loss as the epoch's. Write the mean loss *per
image* over an epoch, from the mean loss and the size of every batch; the last batch is usually smaller. Then take both
mended programs of this chapter: give them a seed, a held-out test set and a report after each epoch, and say for each
number how far it would move with another seed and with another test set.""",
    inputs=lambda g: (torch.randn(4, generator=g) + 3, torch.tensor([8.0, 8.0, 8.0, 3.0])),
    solution=epoch_loss,
    explanation=r"""
A batch of 3 images counts for 3, not for 8: weigh the means by the sizes. The mean of the means is right only if all
batches are equal, and the last batch alone is a random draw of a few images.""",
    hints=(
        "What would the sum of the losses of all images be, given the mean and the size of each batch?",
        "Each batch contributes its mean times its size. How many images are there in all?",
        "`(losses * sizes).sum() / sizes.sum()`.",
    ),
    wrong=(
        Wrong(
            "the last batch",
            lambda losses, sizes: losses[-1],
            "This is the last batch's loss, as in the article: a few images, drawn at random, stand for all.",
        ),
        Wrong(
            "the mean of the means",
            lambda losses, sizes: losses.mean(),
            "The small last batch counts as much as the others. Weigh every mean by its size.",
        ),
        Wrong(
            "the sum",
            lambda losses, sizes: (losses * sizes).sum(),
            "This is the sum over images. Divide by their number.",
        ),
        Wrong(
            "divided by the number of batches",
            lambda losses, sizes: (losses * sizes).sum() / len(losses),
            "Divide by the number of images, not of batches.",
        ),
    ),
    right=(lambda losses, sizes: torch.dot(losses, sizes / sizes.sum()),),
    probes={"batches of equal size": lambda f: f(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([5.0, 5.0, 5.0]))},
    discussion=r"""
**For the open part.** A seed makes a run repeatable, not right: the spread over at least three seeds says how far a
number moves by luck of the start and the order. The standard error over test images says how far it would move with
other images. A VAE's report is the ELBO on binarised test images, in nats. A GAN has no such number: its losses say how
the players stand, so it is judged by its samples, with a distance whose value for real against real is given beside it.""",
)

EXERCISES = [
    IMAGES,
    OPTIMIZERS,
    RANGE,
    DEVICE,
    LINEAR,
    LOGITS,
    SATURATING,
    HEADS,
    SAMPLE,
    LOSS,
    SIGN,
    EXPECTATION,
    BINARISE,
    REPORT,
]

"""Exercise A1.11: The sign of the KL."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong


def kl_terms(log_q, log_p):
    """Sampled KL(q ‖ p) at z ~ q, per sample: from log q(z|x) and log p(z), (n,) twice -> (n,)."""
    return log_q - log_p


EXERCISE = Exercise(
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
            "This is the article's sign, minus the KL: minimising it drives q away from the prior.",
            lambda log_q, log_p: log_p - log_q,
        ),
        Wrong(
            "weighted by q",
            "The samples come from q already. Weighting them by q once more counts it twice.",
            lambda log_q, log_p: log_q.exp() * (log_q - log_p),
        ),
        Wrong(
            "made positive",
            "Single terms may be negative. Taking their absolute value makes the mean too large.",
            lambda log_q, log_p: (log_q - log_p).abs(),
        ),
        Wrong(
            "the cross-entropy", "The entropy of q is missing: this is a cross-entropy.", lambda log_q, log_p: -log_p
        ),
    ),
    right=(lambda log_q, log_p: -(log_p - log_q),),
    gradient=True,
)

"""Log-probabilities of one token and of the best ones at its place."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TokenLogprobs"]


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """What a sampler reports about one token.

    Attributes
    ----------
    token_id : int
        The token; -1 if the row failed.
    logprob : float, optional
        Its log-probability (nats), or its logit, as ``logprobs_mode`` says; None if `params.logprobs` is.
    top_ids, top_logprobs : tuple
        The ``params.logprobs`` best tokens, best first, and the same of each; with -1 all tokens, where the mode is raw
        in id order. The token itself is among them only if it is one of the best.
    entropy : float, optional
        Of the distribution that ``logprobs_mode`` names, in nats; None unless `params.entropy`.
    probability : float, optional
        Of the token in that distribution; None unless `params.entropy`.
    """

    token_id: int
    logprob: float | None = None
    top_ids: tuple[int, ...] = ()
    top_logprobs: tuple[float, ...] = ()
    entropy: float | None = None
    probability: float | None = None

    @property
    def top(self) -> dict[int, float]:
        """The best tokens with their values, and the token itself in any case."""
        best = dict(zip(self.top_ids, self.top_logprobs, strict=True))
        if self.logprob is not None and self.token_id >= 0:
            best.setdefault(self.token_id, self.logprob)
        return best

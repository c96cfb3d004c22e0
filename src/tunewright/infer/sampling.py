"""How the next token is chosen: pure functions on logits, each row by its own settings.

Shape letters: B rows, V words of the vocabulary.
"""

from __future__ import annotations

import torch


def penalise(logits_BV: torch.Tensor, seen_BV: torch.Tensor, penalty_B: torch.Tensor) -> torch.Tensor:
    """Logits of the tokens ``seen`` in prompt or answer divided by the penalty where positive, else multiplied by it.

    Keskar et al. 2019 (CTRL), section 4.1, with the sign taken care of.
    """
    penalty_B1 = penalty_B.to(logits_BV.dtype).unsqueeze(1)
    penalised_BV = torch.where(logits_BV > 0, logits_BV / penalty_B1, logits_BV * penalty_B1)
    return torch.where(seen_BV, penalised_BV, logits_BV)


def keep_top_k(logits_BV: torch.Tensor, top_k_B: torch.Tensor) -> torch.Tensor:
    """All but the ``top_k`` greatest logits as minus infinity (Fan et al. 2018, section 5.4); 0 keeps all, ties are kept."""
    size = logits_BV.shape[1]
    k_B = torch.where(top_k_B <= 0, size, top_k_B.clamp(max=size))
    is_cut_B = k_B < size
    if not bool(is_cut_B.any()):
        return logits_BV
    greatest_BK = logits_BV.topk(int(k_B[is_cut_B].max()), dim=1).values
    least_B1 = greatest_BK.gather(1, (k_B.clamp(max=greatest_BK.shape[1]) - 1).unsqueeze(1))
    return logits_BV.masked_fill((logits_BV < least_B1) & is_cut_B.unsqueeze(1), -torch.inf)


def keep_top_p(logits_BV: torch.Tensor, top_p_B: torch.Tensor) -> torch.Tensor:
    """All logits as minus infinity but the fewest whose probabilities sum to at least ``top_p``; one is always left.

    Nucleus sampling: Holtzman et al. 2020, section 3.1.
    """
    if bool((top_p_B >= 1).all()):
        return logits_BV
    ascending_BV, order_BV = logits_BV.sort(dim=1, stable=True)
    is_cut_BV = ascending_BV.softmax(dim=1).cumsum(dim=1) <= (1 - top_p_B.to(logits_BV.dtype)).unsqueeze(1)
    is_cut_BV &= (top_p_B < 1).unsqueeze(1)
    is_cut_BV[:, -1] = False
    return logits_BV.masked_fill(torch.zeros_like(is_cut_BV).scatter(1, order_BV, is_cut_BV), -torch.inf)


def draw(logits_BV: torch.Tensor, uniform_B: torch.Tensor) -> torch.Tensor:
    """The token of each row whose stretch of the cumulated probabilities holds the row's number in [0, 1).

    Inversion: Devroye 1986, section III.2. In float64: the sum over a large vocabulary must reach 1.
    """
    cumulated_BV = logits_BV.double().softmax(dim=1).cumsum(dim=1)
    point_B1 = (uniform_B * cumulated_BV[:, -1]).unsqueeze(1)
    ids_B = torch.searchsorted(cumulated_BV, point_B1, right=True).squeeze(1)
    last_B = (cumulated_BV < cumulated_BV[:, -1:]).sum(dim=1)  # of nonzero probability, should the point round up to 1
    return torch.minimum(ids_B, last_B)


def choose(
    logits_BV: torch.Tensor,
    temperature_B: torch.Tensor,
    top_k_B: torch.Tensor,
    top_p_B: torch.Tensor,
    uniform_B: torch.Tensor,
) -> torch.Tensor:
    """The next token of each row: the most likely one where ``temperature`` is 0, else drawn.

    Temperature: Ackley, Hinton & Sejnowski 1985, section 2; it comes first, then ``top_k``, then ``top_p``.
    """
    ids_B = logits_BV.argmax(dim=1)
    drawn = (temperature_B > 0).nonzero().squeeze(1)
    if len(drawn):
        warm_DV = logits_BV[drawn] / temperature_B[drawn].to(logits_BV.dtype).unsqueeze(1)
        kept_DV = keep_top_p(keep_top_k(warm_DV, top_k_B[drawn]), top_p_B[drawn])
        ids_B[drawn] = draw(kept_DV, uniform_B[drawn])
    return ids_B

"""VITask (Bai et al., 2024): exemplar prompting, response alignment, contrastive tuning."""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from residency.errors import UsageError
from residency.objective import Logits, Terms, kl, nll
from residency.types import EXEMPLAR, NEGATIVE, NEGATIVE_EXEMPLAR, PLAIN, Targets, View


@dataclass(frozen=True, kw_only=True, slots=True)
class VITask:
    """Equation 7; stage 1 of the paper is `contrast=0`, and the negative image is then never read.

    The weights make every cell of Table 2 a value: `exemplar=0, align=0` with `contrast` is plain
    CRT, `plain=0` is exemplar prompting alone. What the paper leaves open is a value too: the
    direction and temperature of the alignment, whether its teacher is detached (RDA*: not), whether
    the negative logits are, which tokens contrast, and whether CRT reads the exemplar.
    """

    align: float | int  # alpha, the weight of response distribution alignment (eq. 3)
    contrast: float | int  # beta, the weight of contrastive response tuning (eq. 5)
    plain: float | int = 1.0  # the weight of the vanilla term (eq. 1)
    exemplar: float | int = 1.0  # the weight of exemplar prompting (eq. 2), the teacher's own term
    detach_teacher: bool = True
    direction: Literal["printed", "forward"] = "printed"  # KL(plain || exemplar), or the reverse
    temperature: float | int = 1.0
    detach_negative: bool = False
    contrast_tokens: Literal["all", "diverging"] = "all"
    contrast_view: Literal["plain", "exemplar"] = "plain"

    def __post_init__(self) -> None:
        weights = (self.align, self.contrast, self.plain, self.exemplar)
        finite = all(map(math.isfinite, (*weights, self.temperature)))
        if not finite or min(weights) < 0 or not any(weights) or self.temperature <= 0:
            raise UsageError(
                f"VITask weights are {weights}, temperature {self.temperature}; weights must be 0 "
                "or more with at least one above, and the temperature above 0."
            )

    @property
    def views(self) -> tuple[View, ...]:
        """Only the views that a term with weight reads."""
        contrasted = (
            (PLAIN, NEGATIVE) if self.contrast_view == "plain" else (EXEMPLAR, NEGATIVE_EXEMPLAR)
        )
        wanted = {PLAIN} if self.plain or self.align else set[View]()
        wanted |= {EXEMPLAR} if self.exemplar or self.align else set()
        wanted |= set(contrasted) if self.contrast else set()
        order = (PLAIN, EXEMPLAR, NEGATIVE, NEGATIVE_EXEMPLAR)
        return tuple(view for view in order if view in wanted)

    def __call__(self, logits: Logits, targets: Targets) -> Terms:
        """Terms per response token, weighted by alpha and beta."""
        terms: Terms = {}
        if self.plain:
            terms["vanilla"] = self.plain * nll(logits[PLAIN], targets.tokens)  # eq. 1
        if self.exemplar:
            terms["exemplar"] = self.exemplar * nll(logits[EXEMPLAR], targets.tokens)  # eq. 2
        if self.align:
            terms["align"] = self.align * self._alignment(logits)  # eq. 3
        if self.contrast:
            terms["contrast"] = self.contrast * self._contrast(logits, targets)  # eq. 5
        return terms

    def _alignment(self, logits: Logits) -> torch.Tensor:
        student, teacher = logits[PLAIN], logits[EXEMPLAR]
        if self.direction == "printed":
            return kl(student, teacher, detach=self.detach_teacher, temperature=self.temperature)
        fixed = teacher.detach() if self.detach_teacher else teacher
        return kl(fixed, student, detach=False, temperature=self.temperature)

    def _contrast(self, logits: Logits, targets: Targets) -> torch.Tensor:
        own, other = (
            (PLAIN, NEGATIVE) if self.contrast_view == "plain" else (EXEMPLAR, NEGATIVE_EXEMPLAR)
        )
        negative = logits[other].detach() if self.detach_negative else logits[other]
        term = nll(logits[own] - negative, targets.tokens)  # eq. 6
        return term * targets.diverges if self.contrast_tokens == "diverging" else term

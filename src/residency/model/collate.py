"""From readings to a batch: every view of every reading, each distinct image prepared once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import nn

from residency.backbone import ImageLayout
from residency.codec_pixels import Qwen25VLCodec
from residency.errors import DataError
from residency.model.album import Album, single, size_of
from residency.model.expert import Expert
from residency.model.rows import Composer, Row, Slots
from residency.model.trees import Path, grow
from residency.types import (
    Area,
    Batch,
    Conversation,
    ImagePart,
    Prompt,
    Reading,
    Sample,
    Targets,
    View,
)

# Rows of their own for each view, one tree for all that begins alike, or rows without the responses.
Form = Literal["rows", "trees", "prompts"]
_LEAST_START = 512 * 512  # processors enlarge small images, so shrinking starts no lower


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What happens to a sample whose row is longer than `max_tokens`; always counted in the batch.

    `fail` raises, `drop` leaves the sample out, `shrink` halves its images' area until it fits.
    """

    max_tokens: int = 4096
    too_long: Literal["fail", "drop", "shrink"] = "fail"


class LengthError(DataError):
    """A row is longer than its limits, which do not say what to do about it."""


@dataclass(slots=True, eq=False)
class _Draft:
    """A reading on its way into a batch: keys of the images that each view shows, and its rows."""

    reading: Reading
    shown: dict[View, list[str]]
    rows: dict[View, Row] = field(default_factory=dict)

    @property
    def longest(self) -> int:
        return max(len(row.tokens) for row in self.rows.values())

    @property
    def keys(self) -> set[str]:
        return {key for keys in self.shown.values() for key in keys}


class Collator:
    """Writes batches for one model; `expert` preprocesses the images that fill exemplar slots."""

    def __init__(self, composer: Composer, expert: Expert | None, limits: Limits) -> None:
        self._composer, self._expert, self._limits = composer, expert, limits

    def __call__(
        self, readings: Sequence[Reading], slots: Mapping[View, Slots], form: Form
    ) -> Batch:
        """See `Backbone.collate`; `slots` says how wide the slots of each view are."""
        album = Album(self._composer.family, self._composer.processor)
        drafts = []
        for r in readings:
            drafts.append(_Draft(r, {view: album.add(_seen(r, view), view) for view in slots}))
            if any(picture.area != Area() for picture in r.sample.images):
                self._refuse_placed(r.sample, "have an area of its own")
        album.prepare()
        for draft in drafts:
            self._write(draft, album.layouts, slots, form)
        kept = [draft for draft in drafts if self._fits(draft, album, slots, form)]
        if album.budgets or len(kept) < len(drafts):
            album.keep(key for draft in kept for key in draft.keys)
            album.prepare()
            for draft in kept:
                self._write(draft, album.layouts, slots, form)
        return self._batch(
            kept,
            album,
            slots,
            form,
            dropped=tuple(d.reading.sample.id for d in drafts if d not in kept),
            shrunk=tuple(d.reading.sample.id for d in kept if d.keys & album.budgets.keys()),
        )

    def _write(
        self,
        draft: _Draft,
        layouts: Mapping[str, ImageLayout],
        slots: Mapping[View, Slots],
        form: Form,
    ) -> None:
        for view, keys in draft.shown.items():
            of = [layouts[key] for key in keys]
            said = draft.reading.conversation
            if len(keys) < len(_seen(draft.reading, view).images):
                said = _as_clip(said)
            try:
                draft.rows[view] = self._composer.row(
                    said, of, slots[view], answer=form != "prompts"
                )
            except DataError as error:
                raise DataError(f"Sample {draft.reading.sample.id!r}: {error}") from error

    def _fits(self, draft: _Draft, album: Album, slots: Mapping[View, Slots], form: Form) -> bool:
        """Apply the length policy to one sample; False where it is dropped."""
        limit = self._limits
        if draft.longest <= limit.max_tokens:
            return True
        if limit.too_long == "drop":
            return False
        if limit.too_long == "fail":
            raise LengthError(
                f"Sample {draft.reading.sample.id!r} needs {draft.longest} tokens, the limit is "
                f"{limit.max_tokens}. Raise max_tokens, or choose too_long=drop or shrink."
            )
        self._refuse_placed(draft.reading.sample, "be shrunk")
        keys = sorted(draft.keys)
        area = max([_LEAST_START, *(w * h for w, h in (size_of(album.images[k]) for k in keys))])
        while keys and area > 1:
            area //= 2
            for key in keys:  # an image that another sample shrank further stays so
                album.budgets[key] = min(area, album.budgets.get(key, area))
            self._write(draft, album.processed(keys)[1], slots, form)
            if draft.longest <= limit.max_tokens:
                return True
        raise DataError(
            f"Sample {draft.reading.sample.id!r} exceeds {limit.max_tokens} tokens even with the "
            "smallest images: its text is too long. Raise max_tokens, or choose too_long=drop."
        )

    def _refuse_placed(self, sample: Sample, what: str) -> None:
        """Boxes that count pixels of the resized image would be wrong after another resize."""
        placed = isinstance(sample.answer, tuple) and not all(
            isinstance(part, str) for part in sample.answer
        )
        if placed and isinstance(self._composer.family.codec, Qwen25VLCodec):
            raise DataError(
                f"Sample {sample.id!r} has boxes or points, which this family writes in pixels of "
                f"the resized image, so its image cannot {what}. Raise max_tokens, choose "
                "too_long=drop, or leave min_pixels and max_pixels out."
            )

    def _batch(
        self,
        drafts: Sequence[_Draft],
        album: Album,
        slots: Mapping[View, Slots],
        form: Form,
        *,
        dropped: tuple[str, ...],
        shrunk: tuple[str, ...],
    ) -> Batch:
        rows = [row for draft in drafts for row in draft.rows.values()]
        pixels = album.pixels if any(row.spans for row in rows) else {}
        number = {key: n for n, key in enumerate(album.images)}
        keys = sorted(
            {d.shown[v][k] for d in drafts for v in slots for k in d.rows[v].exemplars},
            key=number.__getitem__,
        )
        expert_pixels = None
        if keys and self._expert is not None:
            expert_pixels = self._expert.pixels([single(album.images[key]) for key in keys])
        place = {key: n for n, key in enumerate(keys)}
        prompts, tree = {}, None
        if form == "trees":
            paths = [
                {view: self._path(d, view, slots[view], number, place) for view in slots}
                for d in drafts
            ]
            tree = grow(paths, list(slots))
        else:
            prompts = {view: self._prompt(drafts, view, number, place) for view in slots}
        return Batch(
            prompts=prompts,
            tree=tree,
            targets=self._targets(drafts, next(iter(slots))),
            pixels=pixels,
            expert_pixels=expert_pixels,
            datasets=tuple(draft.reading.sample.dataset for draft in drafts),
            dropped=dropped,
            shrunk=shrunk,
        )

    def _prompt(
        self,
        drafts: Sequence[_Draft],
        view: View,
        number: Mapping[str, int],
        place: Mapping[str, int],
    ) -> Prompt:
        rows = [draft.rows[view] for draft in drafts]
        longest = max((len(row.tokens) for row in rows), default=0)
        tokens = torch.zeros(len(rows), longest, dtype=torch.long)
        attention = torch.zeros(len(rows), longest, dtype=torch.bool)
        predicts = torch.zeros(len(rows), longest, dtype=torch.bool)
        positions = []
        for n, row in enumerate(rows):
            size = len(row.tokens)
            tokens[n, :size] = torch.tensor(row.tokens)
            attention[n, :size] = True
            predicts[n, : size - 1] = torch.tensor(row.learned[1:], dtype=torch.bool)
            of = self._composer.family.positions(size, [(at, span) for at, span, _ in row.spans])
            positions.append(nn.functional.pad(of, (0, longest - size)))
        shown = [draft.shown[view] for draft in drafts]
        return Prompt(
            tokens=tokens,
            attention=attention,
            positions=torch.stack(positions, dim=1) if rows else torch.zeros(1, 0, 0).long(),
            predicts=predicts,
            images=tuple(
                number[keys[k]]
                for keys, row in zip(shown, rows, strict=True)
                for _, _, k in row.spans
            ),
            exemplars=tuple(
                place[keys[k]] for keys, row in zip(shown, rows, strict=True) for k in row.exemplars
            ),
        )

    def _path(
        self,
        draft: _Draft,
        view: View,
        slots: Slots,
        number: Mapping[str, int],
        place: Mapping[str, int],
    ) -> Path:
        row, keys = draft.rows[view], draft.shown[view]
        tokens = np.array(row.tokens)
        symbols = tokens.copy()
        images = [(at, number[keys[k]]) for at, _, k in row.spans]
        for (at, image), (_, layout, _) in zip(images, row.spans, strict=True):
            symbols[at : at + layout.tokens] = -1 - 2 * image
        starts = np.flatnonzero(tokens == self._composer.exemplar_id)[:: slots.exemplar or 1]
        exemplars = [(int(at), place[keys[k]]) for at, k in zip(starts, row.exemplars, strict=True)]
        for at, exemplar in exemplars:
            symbols[at : at + slots.exemplar] = -2 - 2 * exemplar
        return Path(
            tokens=tokens,
            symbols=symbols,
            positions=self._composer.family.positions(
                len(tokens), [(at, span) for at, span, _ in row.spans]
            ),
            images=images,
            exemplars=exemplars,
            learned=np.flatnonzero(row.learned),
        )

    def _targets(self, drafts: Sequence[_Draft], view: View) -> Targets:
        tokens: list[int] = []
        sample: list[int] = []
        diverges: list[bool] = []
        for n, draft in enumerate(drafts):
            row = draft.rows[view]
            own = [t for t, learn in zip(row.tokens, row.learned, strict=True) if learn]
            other = self._composer.response_ids(draft.reading.negative_response)
            same = next(
                (k for k, (a, b) in enumerate(zip(own, other, strict=False)) if a != b),
                min(len(own), len(other)),
            )
            tokens += own
            sample += [n] * len(own)
            diverges += [not other or k >= same for k in range(len(own))]
        index = torch.tensor(sample, dtype=torch.long)
        lengths = torch.bincount(index, minlength=len(drafts))
        weights = torch.tensor([draft.reading.weight for draft in drafts], dtype=torch.float32)
        return Targets(
            tokens=torch.tensor(tokens, dtype=torch.long),
            sample=index,
            lengths=lengths[index],
            weights=weights[index],
            diverges=torch.tensor(diverges, dtype=torch.bool),
        )


def _as_clip(conversation: Conversation) -> Conversation:
    """The conversation with one place for all slices, where the first of them stood."""
    return tuple(
        replace(t, parts=tuple(p for p in t.parts if not isinstance(p, ImagePart) or not p.index))
        for t in conversation
    )


def _seen(reading: Reading, view: View) -> Sample:
    """The sample whose images a view shows."""
    if view.image in ("own", "blank"):
        return reading.sample
    other = reading.negative if view.image == "negative" else reading.shuffled
    if other is None:
        raise DataError(
            f"Sample {reading.sample.id!r} has no {view.image} image for view {view.name!r}."
        )
    return other

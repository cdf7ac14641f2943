"""Backbone: a Hugging Face vision-language model seen as parts, able to collate and to read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from residency.backbone import PARTS, Family, ImageLayout
from residency.errors import DataError, UsageError
from residency.model.expert import Expert
from residency.model.rows import Composer, Row, Slots
from residency.model.slots import ExemplarConnector, ProxyInstruction, fill
from residency.types import Batch, Picture, Prompt, Reading, Targets, View

Exemplar = Literal["cls", "patches", "replace"]
BLANK_GREY = (128, 128, 128)  # the blank image keeps the size of the image it stands for


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What happens to a sample whose row is longer than `max_tokens`; always counted in the batch.

    `fail` raises, `drop` leaves the sample out, `shrink` halves its images' area until it fits.
    """

    max_tokens: int = 4096
    too_long: Literal["fail", "drop", "shrink"] = "fail"


class Backbone(nn.Module):
    """A pretrained model, its processor and the slots that a method adds to it.

    `forward` is `read`: the one call that training wraps (DDP and FSDP see every view in it).
    """

    def __init__(
        self,
        name: str,
        family: Family,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        base: str,
    ) -> None:
        super().__init__()
        self.name, self.family, self.base = name, family, base
        self.model, self.processor = model, processor
        tokenizer = processor.tokenizer  # type: ignore[attr-defined]
        self.composer = Composer(family, processor, family.slots(model.config, tokenizer))
        self.codec = family.codec
        self.expert: Expert | None = None
        self.exemplar: Exemplar = "cls"
        self.exemplar_connector: ExemplarConnector | None = None
        self.proxy_instruction: ProxyInstruction | None = None
        self.limits = Limits()
        self.peft: list[Any] = []  # the PEFT wrapper around `model`, kept out of the module tree

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.model.parameters()).device

    @property
    def width(self) -> int:
        """Width of the language model's embeddings."""
        width: int = self.model.get_input_embeddings().weight.shape[1]  # type: ignore[union-attr,assignment,index]
        return width

    def attach(self, expert: Expert, *, exemplar: Exemplar = "cls", seed: int = 0) -> None:
        """Give the model an exemplar slot fed by `expert`; an existing connector that fits is kept.

        Raises:
            UsageError: the family cannot read an exemplar in place of the image, or the expert's
                width does not fit the connector that is already trained.
        """
        if exemplar == "replace" and not self.family.replaces_image:
            raise UsageError(
                f"{self.name} cannot replace its image by an exemplar; use exemplar=cls."
            )
        if self.exemplar_connector is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.exemplar_connector = ExemplarConnector(expert.width, self.width)
            self.exemplar_connector.to(self.device)
        elif (fits := self.exemplar_connector.norm.normalized_shape[0]) != expert.width:
            raise UsageError(
                f"The exemplar connector reads features of width {fits}, this expert gives "
                f"{expert.width}. Plug an expert of the same architecture."
            )
        self.expert, self.exemplar = expert.to(self.device).requires_grad_(False).eval(), exemplar

    def train(self, mode: bool = True) -> "Backbone":
        """The expert stays in evaluation mode: its features are facts, not something to learn."""
        super().train(mode)
        if self.expert is not None:
            self.expert.eval()
        return self

    def parts(self) -> dict[str, dict[str, nn.Parameter]]:
        """Part -> its parameters by name; disjoint, and together all parameters."""
        prefixes = [(p, part) for part, ps in self.family.prefixes().items() for p in ps]
        prefixes.sort(key=lambda entry: -len(entry[0]))
        parts: dict[str, dict[str, nn.Parameter]] = {part: {} for part in PARTS}
        for name, parameter in self.named_parameters():
            if not name.startswith("model."):
                parts.setdefault(name.split(".")[0], {})[name] = parameter
                continue
            inner = name.removeprefix("model.")
            part = next((part for prefix, part in prefixes if inner.startswith(prefix)), None)
            if part is None:
                raise UsageError(f"{self.name}: parameter {inner!r} belongs to no declared part.")
            parts[part][name] = parameter
        return parts

    # --- from readings to a batch ---------------------------------------------------------------

    def collate(
        self, readings: Sequence[Reading], views: Sequence[View], *, targets: bool = True
    ) -> Batch:
        """Decode each distinct image once and write every reading under every view.

        With `targets=False` rows end where the last learned turn begins: prompts to answer.

        Raises:
            DataError: an image cannot be decoded, a response is empty, or a row is too long and the
                policy is `fail`.
        """
        pictures = [{view: self._pictures(r, view) for view in views} for r in readings]
        images: dict[str, Image.Image] = {}
        for of in pictures:
            for view, shown in of.items():
                for picture in shown:
                    self._decode(picture, view, images)
        keys = list(images)
        pixels, layouts = self._pixels(images, {})
        limit = self.limits
        kept: list[int] = []
        dropped: list[str] = []
        budgets: dict[str, int] = {}
        written = [self._rows(r, of, layouts) for r, of in zip(readings, pictures, strict=True)]
        for i, reading in enumerate(readings):
            length = _longest(written[i])
            if length <= limit.max_tokens:
                kept.append(i)
            elif limit.too_long == "drop":
                dropped.append(reading.sample.id)
            elif limit.too_long == "shrink":
                self._shrink(reading, pictures[i], images, budgets)
                kept.append(i)
            else:
                raise DataError(
                    f"Sample {reading.sample.id!r} needs {length} tokens, the limit is "
                    f"{limit.max_tokens}. Raise max_tokens, or choose too_long=drop or shrink."
                )
        if budgets:
            pixels, layouts = self._pixels(images, budgets)
            written = [self._rows(r, of, layouts) for r, of in zip(readings, pictures, strict=True)]
        rows = {view: [written[i][view] for i in kept] for view in views}
        if not targets:
            rows = {view: [_prompt_only(row) for row in of] for view, of in rows.items()}
        index = {key: n for n, key in enumerate(keys)}
        shown = {v: [[index[_key(p, v)] for p in pictures[i][v]] for i in kept] for v in views}
        exemplified = sorted(
            {shown[v][n][k] for v in views for n, row in enumerate(rows[v]) for k in row.exemplars}
        )
        place = {image: n for n, image in enumerate(exemplified)}
        expert_pixels = None
        if exemplified:
            assert self.expert is not None  # `_slots` refused before
            expert_pixels = self.expert.pixels([images[keys[n]] for n in exemplified])
        used = any(row.spans for of in rows.values() for row in of)
        return Batch(
            prompts={v: self._prompt(rows[v], shown[v], place) for v in views},
            targets=self._targets([readings[i] for i in kept], rows[views[0]]),
            pixels=pixels if used else {},
            expert_pixels=expert_pixels,
            dropped=tuple(dropped),
            shrunk=tuple(r.sample.id for r in readings if budgets and _touched(r, budgets)),
        )

    def _pictures(self, reading: Reading, view: View) -> tuple[Picture, ...]:
        if view.image in ("own", "blank"):
            return reading.sample.images
        other = reading.negative if view.image == "negative" else reading.shuffled
        if other is None:
            raise DataError(
                f"Sample {reading.sample.id!r} has no {view.image} image for view {view.name!r}."
            )
        return other.images

    def _decode(self, picture: Picture, view: View, images: dict[str, Image.Image]) -> None:
        key = _key(picture, view)
        if key not in images:
            own = images[picture.key] if picture.key in images else picture.load()
            images[key] = Image.new("RGB", own.size, BLANK_GREY) if view.image == "blank" else own

    def _pixels(
        self, images: Mapping[str, Image.Image], budgets: Mapping[str, int]
    ) -> tuple[dict[str, Tensor], dict[str, ImageLayout]]:
        """Preprocess all images in one call, or one by one where some have an area budget."""
        if not images:
            return {}, {}
        groups = [list(images)] if not budgets else [[key] for key in images]
        made = [
            self.family.pixels(self.processor, [images[key] for key in keys], budgets.get(keys[0]))
            for keys in groups
        ]
        pixels = {name: torch.cat([p[name] for p, _ in made]) for name in made[0][0]}
        flat = [layout for _, layouts in made for layout in layouts]
        return pixels, dict(zip(images, flat, strict=True))

    def _slots(self, view: View) -> Slots:
        if view.exemplar and self.expert is None:
            raise UsageError(
                f"View {view.name!r} needs an expert, and this model has none attached."
            )
        if view.instruction == "proxy" and self.proxy_instruction is None:
            raise UsageError(
                f"View {view.name!r} needs a proxy instruction, and this model has none."
            )
        exemplar = 0
        if view.exemplar and self.expert is not None:
            exemplar = 1 if self.exemplar == "cls" else self.expert.patches
        proxy = 0
        if view.instruction == "proxy" and self.proxy_instruction is not None:
            proxy = len(self.proxy_instruction.vectors)
        replace = view.exemplar and self.exemplar == "replace"
        return Slots(exemplar=exemplar, replace=replace, proxy=proxy)

    def _row(
        self,
        reading: Reading,
        pictures: Sequence[Picture],
        layouts: Mapping[str, ImageLayout],
        view: View,
    ) -> Row:
        of = [layouts[_key(picture, view)] for picture in pictures]
        try:
            return self.composer.row(reading.conversation, of, self._slots(view))
        except DataError as error:
            raise DataError(f"Sample {reading.sample.id!r}: {error}") from error

    def _rows(
        self,
        reading: Reading,
        pictures: Mapping[View, Sequence[Picture]],
        layouts: Mapping[str, ImageLayout],
    ) -> dict[View, Row]:
        return {view: self._row(reading, of, layouts, view) for view, of in pictures.items()}

    def _shrink(
        self,
        reading: Reading,
        pictures: Mapping[View, Sequence[Picture]],
        images: Mapping[str, Image.Image],
        budgets: dict[str, int],
    ) -> None:
        """Halve the area budget of a sample's images until its longest row fits."""
        keys = {_key(p, view) for view, of in pictures.items() for p in of}
        area = max(images[key].width * images[key].height for key in keys)
        while area > 1:
            area //= 2
            budgets.update(dict.fromkeys(keys, area))
            _, layouts = self._pixels({key: images[key] for key in keys}, budgets)
            if _longest(self._rows(reading, pictures, layouts)) <= self.limits.max_tokens:
                return
        raise DataError(
            f"Sample {reading.sample.id!r} exceeds {self.limits.max_tokens} tokens even with the "
            "smallest images: its text is too long. Raise max_tokens, or choose too_long=drop."
        )

    def _prompt(
        self, rows: Sequence[Row], shown: Sequence[Sequence[int]], place: Mapping[int, int]
    ) -> Prompt:
        longest = max((len(row.tokens) for row in rows), default=0)
        tokens = torch.zeros(len(rows), longest, dtype=torch.long)
        attention = torch.zeros(len(rows), longest, dtype=torch.bool)
        predicts = torch.zeros(len(rows), longest, dtype=torch.bool)
        positions = []
        for n, row in enumerate(rows):
            size = len(row.tokens)
            tokens[n, :size] = torch.tensor(row.tokens)
            attention[n, :size] = True
            predicts[n, : size - 1] = torch.tensor(row.learned[1:])
            of = self.family.positions(size, [(start, layout) for start, layout, _ in row.spans])
            positions.append(nn.functional.pad(of, (0, longest - size)))
        return Prompt(
            tokens=tokens,
            attention=attention,
            positions=torch.stack(positions, dim=1) if rows else torch.zeros(1, 0, 0).long(),
            predicts=predicts,
            images=tuple(shown[n][k] for n, row in enumerate(rows) for _, _, k in row.spans),
            exemplars=tuple(
                place[shown[n][k]] for n, row in enumerate(rows) for k in row.exemplars
            ),
        )

    def _targets(self, readings: Sequence[Reading], rows: Sequence[Row]) -> Targets:
        tokens: list[int] = []
        sample: list[int] = []
        diverges: list[bool] = []
        for n, (reading, row) in enumerate(zip(readings, rows, strict=True)):
            own = [t for t, learn in zip(row.tokens, row.learned, strict=True) if learn]
            other = self.composer.response_ids(reading.negative_response)
            same = next(
                (k for k, (a, b) in enumerate(zip(own, other, strict=False)) if a != b),
                min(len(own), len(other)),
            )
            tokens += own
            sample += [n] * len(own)
            diverges += [not other or k >= same for k in range(len(own))]
        index = torch.tensor(sample, dtype=torch.long)
        weights = torch.tensor([reading.weight for reading in readings], dtype=torch.float32)
        return Targets(
            tokens=torch.tensor(tokens, dtype=torch.long),
            sample=index,
            weights=weights[index],
            diverges=torch.tensor(diverges, dtype=torch.bool),
        )

    # --- reading --------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> dict[View, Float[Tensor, "r v"]]:
        """The wrapped call; see `read`."""
        return self.read(batch)

    def read(self, batch: Batch) -> dict[View, Float[Tensor, "r v"]]:
        """Logits that predict each response token, under every view of the batch.

        Each distinct image passes the vision encoder once, whatever the number of views, and the
        output head runs at the response positions only.
        """
        images = self.see(batch)
        exemplars = self.exemplify(batch)
        logits = {}
        for view, prompt in batch.prompts.items():
            embeddings = self.embed(prompt, images, exemplars)
            hidden = self.decode(embeddings, prompt.attention, prompt.positions)[0]
            logits[view] = self.head(hidden[prompt.predicts])
        return logits

    def see(self, batch: Batch) -> list[Float[Tensor, "n d"]]:
        """The embeddings of every distinct image of the batch; empty where no view shows one."""
        return self.family.features(self.model, batch.pixels) if batch.pixels else []

    def exemplify(self, batch: Batch) -> Float[Tensor, "m k d"] | None:
        """The exemplar embeddings of the distinct images that need one."""
        if batch.expert_pixels is None or self.expert is None or self.exemplar_connector is None:
            return None
        kind: Literal["cls", "patches"] = "cls" if self.exemplar == "cls" else "patches"
        with torch.no_grad():
            features = self.expert.features(batch.expert_pixels, kind)
        connected: Tensor = self.exemplar_connector(
            features.to(self.exemplar_connector.out.weight.dtype)
        )
        return connected

    def embed(
        self,
        prompt: Prompt,
        images: Sequence[Float[Tensor, "n d"]],
        exemplars: Float[Tensor, "m k d"] | None,
    ) -> Float[Tensor, "b t d"]:
        """Token embeddings with images and slots filled in."""
        embeddings: Tensor = self.model.get_input_embeddings()(prompt.tokens)
        if prompt.images:
            values = torch.cat([images[n] for n in prompt.images])
            embeddings = fill(embeddings, prompt.tokens, self.composer.image_id, values)
        if prompt.exemplars and exemplars is not None:
            values = exemplars[list(prompt.exemplars)].flatten(0, 1)
            embeddings = fill(embeddings, prompt.tokens, self.composer.exemplar_id, values)
        if self.proxy_instruction is not None:
            here = prompt.tokens == self.composer.proxy_id
            vectors = self.proxy_instruction().to(embeddings.dtype)
            runs = int(here.sum()) // len(vectors)
            embeddings = embeddings.masked_scatter(here[..., None], vectors.repeat(runs, 1))
        return embeddings

    def decode(
        self,
        embeddings: Float[Tensor, "b t d"],
        attention: Tensor,
        positions: Int[Tensor, "p b t"],
        cache: Any = None,
    ) -> tuple[Float[Tensor, "b t d"], Any]:
        """Hidden states of the language model, and the cache when one was given.

        `attention` is a padding mask `[b, total]`, or a full mask `[b, 1, t, total]`.
        """
        made = self.family.language_model(self.model)(
            inputs_embeds=embeddings,
            attention_mask=attention,
            position_ids=positions if len(positions) > 1 else positions[0],
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return made.last_hidden_state, made.past_key_values

    def head(self, hidden: Float[Tensor, "r d"]) -> Float[Tensor, "r v"]:
        """Logits over the vocabulary."""
        logits: Tensor = self.model.get_output_embeddings()(hidden)  # type: ignore[misc]
        return logits


def _longest(rows: Mapping[View, Row]) -> int:
    return max(len(row.tokens) for row in rows.values())


def _key(picture: Picture, view: View) -> str:
    return f"blank:{picture.key}" if view.image == "blank" else picture.key


def _touched(reading: Reading, budgets: Mapping[str, int]) -> bool:
    return any(picture.key in budgets for picture in reading.sample.images)


def _prompt_only(row: Row) -> Row:
    """Cut before the last learned turn; nothing is predicted."""
    end = len(row.learned)
    while end and not row.learned[end - 1]:
        end -= 1
    while end and row.learned[end - 1]:
        end -= 1
    return Row(row.tokens[:end], [False] * end, row.spans, row.exemplars)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch on another device."""
    if device.type == "cpu":
        return batch
    move = {"device": device, "non_blocking": True}
    prompts = {
        view: Prompt(
            tokens=p.tokens.to(**move),
            attention=p.attention.to(**move),
            positions=p.positions.to(**move),
            predicts=p.predicts.to(**move),
            images=p.images,
            exemplars=p.exemplars,
        )
        for view, p in batch.prompts.items()
    }
    t = batch.targets
    return Batch(
        prompts=prompts,
        targets=Targets(
            t.tokens.to(**move), t.sample.to(**move), t.weights.to(**move), t.diverges.to(**move)
        ),
        pixels={name: tensor.to(**move) for name, tensor in batch.pixels.items()},
        expert_pixels=None if batch.expert_pixels is None else batch.expert_pixels.to(**move),
        dropped=batch.dropped,
        shrunk=batch.shrunk,
    )

"""Backbone: a Hugging Face vision-language model seen as parts, able to collate and to read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from residency.backbone import PARTS, Family
from residency.codec_pixels import fitted
from residency.errors import UsageError
from residency.model import masks
from residency.model.collate import Collator, Form
from residency.model.collate import Limits as Limits
from residency.model.encoder import CachedEncoder
from residency.model.expert import Expert
from residency.model.pieces import terms
from residency.model.pruning import obstacle, prepare, select
from residency.model.rows import Composer, Slots
from residency.model.slots import ExemplarConnector, ProxyInstruction, fill
from residency.objective import Objective, Terms
from residency.types import Batch, Prompt, Reading, Tree, View

Exemplar = Literal["cls", "patches", "replace"]


class Backbone(nn.Module):
    """A pretrained model, its processor and the slots that a method adds to it.

    `forward` is the one call that training wraps (DDP and FSDP see every view in it).
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
        tokenizer = processor.tokenizer
        self.composer = Composer(family, processor, family.slots(model.config, tokenizer))
        self.codec = fitted(family.codec, processor)
        self.expert: Expert | None = None
        self.exemplar: Exemplar = "cls"
        self.exemplar_connector: ExemplarConnector | None = None
        self.proxy_instruction: ProxyInstruction | None = None
        self.limits = Limits()
        self.encoder: CachedEncoder | None = None  # what `caching` puts before the connector
        self.whole = obstacle(family.language_model(model))  # why the last block runs everywhere
        self.dense: str | None = None  # why trees have a dense mask; None until one needs a mask
        if not self.whole:
            prepare(family.language_model(model))
        self.peft: list[Any] = []  # the PEFT wrapper around `model`, kept out of the module tree
        self.anchored = False  # logits depend on every trained weight, if only by zero

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.model.parameters()).device

    @property
    def width(self) -> int:
        """Width of the language model's embeddings."""
        return self.embedding_matrix.shape[1]

    @property
    def vocabulary(self) -> int:
        """How many logits a token has."""
        weight: Any = self.model.get_output_embeddings().weight
        return len(weight)

    @property
    def embedding_matrix(self) -> Tensor:
        """The input embeddings, a row per token id `[v, d]`."""
        weight: Any = self.model.get_input_embeddings().weight
        return cast(Tensor, weight)

    def attach(self, expert: Expert, *, exemplar: Exemplar = "cls", seed: int = 0) -> None:
        """Give the model an exemplar slot fed by `expert`; an existing connector that fits is kept.

        Raises:
            UsageError: the family is for evaluation only or cannot read an exemplar in place of the
                image, or the expert's width does not fit the connector that is already trained.
        """
        if self.family.untrained:
            raise UsageError(f"{self.name} takes no expert: {self.family.untrained}")
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

    def instruct(self, vectors: int, *, seed: int = 0) -> None:
        """Give the model a new proxy instruction of so many vectors, drawn from N(0, 0.02^2).

        The algorithm gives no variance; 0.02 is how language models initialise embeddings (ours).
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.proxy_instruction = ProxyInstruction(vectors, self.width).to(self.device)

    def train(self, mode: bool = True) -> "Backbone":
        """The expert stays in evaluation mode: its features are facts, not something to learn."""
        super().train(mode)
        if self.expert is not None:
            self.expert.eval()
        return self

    def parts(self) -> dict[str, dict[str, nn.Parameter]]:
        """Part -> its parameters by name; disjoint, and together all parameters."""
        declared = self.family.prefixes(self.model.config)
        prefixes = [(prefix, part) for part, of in declared.items() for prefix in of]
        prefixes.sort(key=lambda entry: -len(entry[0]))
        parts: dict[str, dict[str, nn.Parameter]] = {part: {} for part in PARTS if part in declared}
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

    def collate(
        self, readings: Sequence[Reading], views: Sequence[View], form: Form = "rows"
    ) -> Batch:
        """Write every reading under every view, each distinct image preprocessed once.

        `trees` write what rows share once, over views and samples; `rows` write every view by
        itself; `prompts` are rows that end where the last learned turn begins, to be answered:
        responses are not looked at.

        Raises:
            DataError: an image cannot be used, a response is empty, or a row is too long and the
                policy is `fail`.
            UsageError: a view needs an expert or a proxy instruction that the model lacks.
        """
        collator = Collator(self.composer, self.expert, self.limits)
        return collator(readings, {view: self._slots(view) for view in views}, form)

    @property
    def separate(self) -> str:
        """Why views must be read as rows of their own instead of trees; empty where they need not."""
        return self.family.separate(self.model.config)

    def describe_reading(self) -> list[str]:
        """Which engine reads the views, and why not a faster one, a line each."""
        if self.separate:
            return [f"views are read as rows of their own: {self.separate}"]
        last = (
            f"the last block runs at every token: {self.whole}"
            if self.whole
            else "the last block runs where a response token is predicted"
        )
        mask = (
            "branches are kept apart by blocks (FlexAttention) where that is measured to be faster"
            if torch.cuda.is_available()
            else "branches are kept apart by a dense mask: FlexAttention trains on CUDA alone"
        )
        return [
            "views are read as trees: what they share passes the language model once",
            last,
            mask,
        ]

    def _slots(self, view: View) -> Slots:
        exemplar = proxy = 0
        if view.exemplar:
            if self.expert is None:
                raise UsageError(
                    f"View {view.name!r} needs an expert, and this model has none attached."
                )
            exemplar = 1 if self.exemplar == "cls" else self.expert.patches
        if view.instruction == "proxy":
            if self.proxy_instruction is None:
                raise UsageError(
                    f"View {view.name!r} needs a proxy instruction, and this model has none."
                )
            proxy = len(self.proxy_instruction.vectors)
        replace = view.exemplar and self.exemplar == "replace"
        return Slots(exemplar=exemplar, replace=replace, proxy=proxy)

    @property
    def form(self) -> Form:
        """How rows with responses are best written for this model."""
        return "rows" if self.separate else "trees"

    # --- reading --------------------------------------------------------------------------------

    def forward(self, batch: Batch, objective: Objective) -> Terms:
        """The wrapped call: what `objective` makes of the logits of `read`, never all of them at once.

        Sharded weights are reduced together, so each needs a gradient in every process, also of a
        microbatch without images: `anchored` adds zero times their sum.
        """
        states = self.states(batch)
        made = terms(self.head, states, batch.targets, objective, self.vocabulary)
        if not self.anchored:
            return made
        trained = (p for p in self.parameters() if p.requires_grad)
        zero = 0 * torch.stack([p.sum().float() for p in trained]).sum()
        return {name: one + zero.to(one.dtype) for name, one in made.items()}

    def read(self, batch: Batch) -> dict[View, Float[Tensor, "r v"]]:
        """Logits that predict each response token, under every view of the batch.

        Each distinct image passes the vision encoder once, whatever the number of views, and the
        output head runs at the response positions only.
        """
        return {view: self.head(states) for view, states in self.states(batch).items()}

    def states(self, batch: Batch) -> dict[View, Float[Tensor, "r d"]]:
        """The last hidden states that predict each response token, under every view of the batch."""
        images = self.see(batch)
        exemplars = self.exemplify(batch)
        if (tree := batch.tree) is not None:
            given = self.family.inputs(self.model, tree, images)
            hidden = self.climb(tree, self.embed(tree, images, exemplars), given).flatten(0, 1)
            return {view: hidden[at] for view, at in tree.reads.items()}
        states = {}
        for view, prompt in batch.prompts.items():
            embeddings = self.embed(prompt, images, exemplars)
            given = self.family.inputs(self.model, prompt, images)
            hidden = self.decode(embeddings, given, prompt.positions)[0]
            states[view] = hidden[prompt.predicts]
        return states

    def see(self, batch: Batch) -> list[Float[Tensor, "_ d"]]:
        """The embeddings of every distinct image of the batch; empty where no view shows one."""
        if self.encoder is None:
            return self.family.features(self.model, batch.pixels) if batch.pixels else []
        encoded = self.encoder(batch.pixels)
        return self.family.connect(self.model, encoded) if encoded else []

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
        prompt: Prompt | Tree,
        images: Sequence[Float[Tensor, "_ w"]],
        exemplars: Float[Tensor, "m k d"] | None,
    ) -> Float[Tensor, "b t d"]:
        """Token embeddings with images and slots filled in; features may be wider than the row."""
        embeddings: Tensor = self.model.get_input_embeddings()(prompt.tokens)
        if prompt.images and self.family.in_row:
            width = embeddings.shape[-1]  # what lies beyond, `inputs` takes to deeper layers
            values = torch.cat([images[n][:, :width] for n in prompt.images])
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

    def climb(
        self, tree: Tree, embeddings: Float[Tensor, "b t d"], given: Mapping[str, Any]
    ) -> Float[Tensor, "b q d"]:
        """Hidden states of trees at the places that are read; elsewhere the last block is left out."""
        if isinstance(mask := given.get("attention_mask"), Tensor) and mask.ndim == 4:
            if self.dense is None:
                self.dense = masks.obstacle(self.family.language_model(self.model), tree)
            given = given if self.dense else {**given, "attention_mask": masks.blocks(tree)}
        if self.whole:
            return select(self.decode(embeddings, given, tree.positions)[0], tree.looks)
        return self.decode(embeddings, {**given, "few": tree.looks}, tree.positions)[0]

    def decode(
        self,
        embeddings: Float[Tensor, "b t d"],
        given: Mapping[str, Any],
        positions: Int[Tensor, "p b t"],
        cache: Any = None,
    ) -> tuple[Float[Tensor, "b q d"], Any]:
        """Hidden states of the language model, and the cache when one was given.

        `given` is what the family's `inputs` or `onward` made.
        """
        decoder = self.family.language_model(self.model)
        masks.attend(decoder, given.get("attention_mask"))
        made = decoder(
            inputs_embeds=embeddings,
            **given,
            position_ids=positions if len(positions) > 1 else positions[0],
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return made.last_hidden_state, made.past_key_values

    def head(self, hidden: Float[Tensor, "r d"]) -> Float[Tensor, "r v"]:
        """Logits over the vocabulary."""
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        return logits


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch on another device."""
    if device.type == "cpu":
        return batch
    move: Any = {"device": device, "non_blocking": True}
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
    tree = batch.tree
    return Batch(
        prompts=prompts,
        targets=batch.targets.each(lambda one: one.to(**move)),
        pixels={name: tensor.to(**move) for name, tensor in batch.pixels.items()},
        expert_pixels=None if batch.expert_pixels is None else batch.expert_pixels.to(**move),
        tree=tree
        and replace(
            tree,
            tokens=tree.tokens.to(**move),
            enter=tree.enter.to(**move),
            leave=tree.leave.to(**move),
            positions=tree.positions.to(**move),
            looks=tree.looks.to(**move),
            reads={view: at.to(**move) for view, at in tree.reads.items()},
        ),
        datasets=batch.datasets,
        dropped=batch.dropped,
        shrunk=batch.shrunk,
    )

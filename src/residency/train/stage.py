"""The step that trains a backbone: a mixture, an objective, and which parts may change."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from accelerate import PartialState

from residency.codec_pixels import suits
from residency.data.augment import Augment
from residency.data.mix import Mix
from residency.data.mixture import Mixture, Turns
from residency.data.retelling import Retelling
from residency.errors import CheckpointError, UsageError
from residency.model import store
from residency.model.encoder import space
from residency.model.expert import Expert
from residency.model.huggingface import Backbone, Exemplar, Limits
from residency.objective import Objective
from residency.step import BASE, Maker, Workspace
from residency.task import Codec, Wording
from residency.train import checkpoint
from residency.train.estimate import Estimate, estimate
from residency.train.trainable import PartRow, lines, planned
from residency.train.trainer import Outcome, Precision, Run
from residency.train.values import Full, Schedule, Train
from residency.train.watching import BEST, Looks, Watch

FEW_TOKENS = 4  # an image of fewer is warned about (a 28 x 28 image is one for Qwen2-VL)
MOST_VECTORS = 512  # of a proxy instruction: more than any instruction has tokens


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One optimizer run: mixture x objective x which parts train, from the model `after` left.

    `expert` names the fitting step whose expert feeds the exemplar slot; None keeps the one that
    the model already carries. `proxy` makes a new proxy instruction of so many vectors; None keeps what
    the model carries. `retelling` is what each draw changes in the words. `made` are
    steps whose data joins the mixture. The model it leaves is
    `<run>/<name>/model`.
    """

    name: str
    after: str
    data: tuple[str, ...]
    objective: Objective
    train: Mapping[str, Train]
    schedule: Schedule = Schedule()  # noqa: RUF009 - frozen
    expert: str | None = None
    exemplar: Exemplar = "cls"
    proxy: int | None = None
    retelling: Retelling = Retelling()  # noqa: RUF009 - frozen
    wording: Wording = Wording()  # noqa: RUF009 - frozen
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    made: tuple[Maker, ...] = ()
    turns: Turns = "apart"
    distributed: ClassVar[bool] = True
    mix: Mix = Mix()  # noqa: RUF009 - frozen
    augment: Augment = Augment()  # noqa: RUF009 - frozen
    precision: Literal["auto", "no", "bf16"] = "auto"  # auto: bf16 on a GPU
    watch: Watch | None = None  # looks at a validation slice, and may choose the model that is left
    codec: Codec | None = None  # how boxes and points are written; None: as the model does already

    @property
    def needs(self) -> tuple[str, ...]:
        """The model it starts from, the expert it attaches, the steps that make its data."""
        made = tuple(maker.name for maker in self.made)
        return (self.after, *((self.expert,) if self.expert else ()), *made)

    def looks(self) -> dict[tuple[str, str], float]:
        """How often an image of each training split is read as it is; once where nobody can say."""
        times = self.schedule.epochs if self.schedule.updates is None else 1.0
        return (
            {} if self.augment.describe else dict.fromkeys(((d, "train") for d in self.data), times)
        )

    def plan(self, workspace: Workspace) -> list[str]:
        """Samples, parts, updates, and an estimate of time and memory on this machine."""
        backbone, rows, mixture = self.check(workspace)
        views = self.objective.views
        if mixture is None:
            names = ", ".join(maker.name for maker in self.made)
            return [f"the data that {names} will leave", *lines(rows)]
        total = self.schedule.total(mixture.epoch_size)
        cost = estimate(backbone, mixture, rows, self.schedule, views)
        return [
            *_shares(mixture, cost),
            *(
                [f"images of training change: {self.augment.describe}"]
                * bool(self.augment.describe)
            ),
            *lines(rows),
            f"{self.objective!r} reads {', '.join(view.name for view in views)}",
            *backbone.describe_reading(),
            f"{total} updates of {self.schedule.batch_size} samples; {cost.describe()}",
            *([f"looks: {self.watch.describe(mixture.datasets)}"] if self.watch else []),
        ]

    def check(self, workspace: Workspace) -> tuple[Backbone, list[PartRow], Mixture | None]:
        """Refuse what cannot work, from names and shapes alone; returns what it looked at.

        There is no mixture yet where a step still has to make its data.
        """
        backbone = store.empty(workspace.base)
        backbone.limits = self.limits
        rows = planned(backbone, self.train)
        self._refuse_impossible(workspace, backbone)
        if not all(workspace.is_done(maker.name) for maker in self.made):
            return backbone, rows, None
        mixture = self._mixture(workspace, self.codec or backbone.codec)
        if self.watch is not None:
            self.watch.refuse(mixture.datasets)
        for kind, pool in (("negative", "negatives"), ("shuffled", "strangers")):
            if any(view.image == kind for view in self.objective.views):
                getattr(mixture, pool).check()
        return backbone, rows, mixture

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Train, or resume, and commit the model."""
        folder = workspace.folder(self.name)
        precision = self._precision()
        backbone = store.load(
            workspace.model(self.after), dtype=torch.float32 if precision == "no" else None
        )
        if self.expert is not None:
            expert = Expert.load(workspace.expert(self.expert))
            backbone.attach(expert, exemplar=self.exemplar, seed=workspace.seed)
        if self.proxy is not None:
            backbone.instruct(self.proxy, seed=workspace.seed)
        backbone.limits = self.limits
        backbone.codec = self.codec or backbone.codec
        run = Run(
            backbone=backbone,
            mixture=self._mixture(workspace, backbone.codec),
            objective=self.objective,
            train=self.train,
            schedule=self.schedule,
            seed=workspace.seed,
            folder=folder,
            changed=_changed(workspace.model(self.after)),
            identity=self._identity(workspace),
            precision=precision,
            features=space(workspace.out),
            uses=workspace.uses(self.data, "train"),
        )
        if self.watch is not None:
            run.looks = self._looks(self.watch, run, workspace)
        outcome = run()
        main = PartialState().is_main_process
        if main and run.looks is not None:
            if run.looks.watch.keep_best and run.looks.best:
                if not (folder / BEST).is_dir():
                    raise CheckpointError(
                        f"{folder / BEST} is gone, and with it the best model. Delete {folder} and "
                        "train again."
                    )
                store.restore(backbone, folder / BEST)
            print(f"  {run.looks.describe()}", flush=True)
        weights = store.gathered(backbone, keep=main)
        if main:
            checkpoint.clean(folder)
            checkpoint.commit(
                folder / "model",
                lambda staged: store.save(backbone, staged, changed=run.changed, weights=weights),
                {"stage": self.name, "recipe": workspace.command},
            )
            checkpoint.prune(folder / "checkpoints", 1)
            shutil.rmtree(folder / BEST, ignore_errors=True)  # it is what `model` holds
        PartialState().wait_for_everyone()
        return _facts(outcome, run.mixture)

    def _looks(self, watch: Watch, run: Run, workspace: Workspace) -> Looks:
        backbone = run.backbone
        changed = run.changed | {part for part, how in self.train.items() if isinstance(how, Full)}
        return Looks(
            watch=watch,
            backbone=backbone,
            datasets=run.mixture.datasets,
            seed=workspace.seed,
            folder=run.folder,
            save=lambda folder: store.save(backbone, folder, changed=changed),
            identity=run.identity,
        )

    def _identity(self, workspace: Workspace) -> dict[str, object]:
        """Of the checkpoints of this stage: settings, and the weights it starts from."""
        expert = None if self.expert is None else str(workspace.expert(self.expert))
        return {
            "stage": repr(self),
            "base": store.identity(workspace.base),
            "after": store.identity(workspace.model(self.after)),
            "expert": None if expert is None else store.identity(expert),
        }

    def _refuse_impossible(self, workspace: Workspace, backbone: Backbone) -> None:
        if self.exemplar == "replace" and not backbone.family.replaces_image:
            raise UsageError(
                f"{backbone.name} cannot replace its image by an exemplar; use exemplar=cls."
            )
        seen = [view.name for view in self.objective.views if view.exemplar]
        if not suits(self.codec, backbone.codec):
            raise UsageError(
                f"UMIT's points come with the boxes of Qwen2-VL, and {backbone.name} writes others. Use "
                "points=family."
            )
        bare = self.after == BASE and not carries_expert(workspace.base)
        if bare and self.expert is None and (seen or "exemplar_connector" in self.train):
            raise UsageError(
                f"Stage {self.name!r} needs an expert (views {seen}, trains {sorted(self.train)}) "
                f"and {workspace.base} carries none. Name the step that fits one as `expert`."
            )
        if self.proxy is not None and not 1 <= self.proxy <= MOST_VECTORS:
            raise UsageError(
                f"proxy={self.proxy} vectors; give 1 to {MOST_VECTORS} (InstFree: 8), or none."
            )
        absent = self.after == BASE and self.proxy is None and backbone.proxy_instruction is None
        asked = any(view.instruction == "proxy" for view in self.objective.views)
        if absent and (asked or "proxy_instruction" in self.train):
            raise UsageError(
                f"Stage {self.name!r} needs a proxy instruction and {workspace.base} carries none. "
                "Say how many vectors it has: proxy=8."
            )

    def _mixture(self, workspace: Workspace, codec: Any) -> Mixture:
        made = [maker.dataset(workspace) for maker in self.made]
        return Mixture.of(
            [*workspace.datasets(self.data), *made],
            "train",
            limit=workspace.limit,
            wording=self.wording,
            codec=codec,
            seed=workspace.seed,
            retelling=self.retelling,
            turns=self.turns,
            mix=self.mix,
            augment=self.augment,
        )

    def _precision(self) -> Precision:
        if self.precision != "auto":
            return self.precision
        return "bf16" if torch.cuda.is_available() else "no"


def _shares(mixture: Mixture, cost: Estimate) -> list[str]:
    """A line per data set: its samples, its shares of an epoch, and how much of images is seen."""
    lines = []
    shares = zip(mixture.describe(), cost.shares, cost.images, cost.smallest, strict=True)
    for share, part, tokens, smallest in shares:
        lines.append(
            f"{share.dataset}/{share.split}: {share.used} of {share.available} samples, "
            f"{share.draws} readings an epoch ({share.draws / mixture.epoch_size:.0%}), about "
            f"{part:.0%} of tokens" + f"; about {tokens:.0f} image tokens a sample" * bool(smallest)
        )
        if 0 < smallest < FEW_TOKENS:
            lines.append(
                f"warning: an image of {share.dataset} becomes {smallest} "
                f"token{'s' * (smallest > 1)}, in which little can be seen. Raise min_pixels, as in "
                f"{share.dataset}:min_pixels={56 * 56}."
            )
    return lines


def carries_expert(model: str) -> bool:
    """Whether a model comes with an expert for its exemplar slot."""
    folder = store.checkpoint_folder(model)
    return folder is not None and (folder / "expert").is_dir()


def _changed(model: str) -> set[str]:
    """Parts that a checkpoint already holds in full; they stay in what is saved next."""
    folder = store.checkpoint_folder(model)
    if folder is None:
        return set()
    described = json.loads((folder / "residency.json").read_text())
    return set(described["changed"])


def _facts(outcome: Outcome, mixture: Mixture) -> dict[str, Any]:
    return {
        "updates": outcome.updates,
        "samples": [share._asdict() for share in mixture.describe()],
        "parts": [asdict(row) for row in outcome.parts],
        "audit": dict(outcome.audit),
        "last_terms": dict(outcome.last_terms),
        "dropped": outcome.dropped,
        "shrunk": outcome.shrunk,
        "negatives_outside": outcome.outside,
        "train_seconds": outcome.seconds,
    }

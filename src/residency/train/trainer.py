"""The training loop: the only place where a gradient is taken."""

import functools
import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from jaxtyping import Float
from torch import Tensor
from torch.optim import AdamW

from residency.data.mixture import Mixture
from residency.data.negatives import uniform
from residency.data.sampler import Sampler
from residency.data.stream import Prefetch, prefetch
from residency.errors import ResidencyError, UsageError
from residency.model import sharding, store
from residency.model.encoder import CachedEncoder, Counts, Space, caching
from residency.model.feature_keys import obstacle
from residency.model.huggingface import Backbone, to_device
from residency.objective import Objective
from residency.train import checkpoint
from residency.train.deepspeed import configure, is_deepspeed, kinds, together
from residency.train.estimate import estimate
from residency.train.feed import Feed, Work, letters
from residency.train.journal import Journal, Progress
from residency.train.memory import Thrift
from residency.train.shares import ByData
from residency.train.signals import Interrupted, Signals
from residency.train.slow import slow_weights
from residency.train.trainable import Audit, PartRow, apply, lines, table
from residency.train.values import Full, Schedule, Train
from residency.train.watching import Looks
from residency.types import Batch

Precision = Literal["no", "bf16"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage did, resumed sessions included: for the terminal, the report and the tests."""

    updates: int
    parts: list[PartRow]
    audit: Mapping[str, list[str]]
    last_terms: Mapping[str, float]
    dropped: int
    shrunk: int
    outside: int
    seconds: float


@dataclass(kw_only=True)
class Run:
    """One optimizer run over a mixture. `folder` receives journal and checkpoints."""

    backbone: Backbone
    mixture: Mixture
    objective: Objective
    train: Mapping[str, Train]
    schedule: Schedule
    seed: int
    folder: Path
    changed: set[str] = field(default_factory=set)  # parts that already differ from the base
    identity: Mapping[str, object] = field(default_factory=dict)
    precision: Precision = "no"  # of the forward pass; trained weights are float32
    looks: Looks | None = None  # at a validation slice, while it trains
    features: Space | None = None  # where images that a frozen vision encoder has seen are kept
    uses: float = 2.0  # how often an image is read, by this run or with others, at least about
    save_every: int = 500  # updates
    keep: int = 2

    def __call__(self) -> Outcome:
        """Train to the end, resuming from the newest valid checkpoint of the same run.

        Raises:
            ResidencyError: a loss or gradient that is not finite, an audit that failed, or not one
                sample that the length policy kept.
            Interrupted: SIGINT or SIGTERM, after the update in flight was finished and saved.
        """
        self._prepare()
        self._resume()
        if self._update < self._total:
            self._loop()
        self._thrift.end()
        self.changed |= self._full()
        self.backbone.requires_grad_(False).eval()
        return Outcome(
            updates=self._update,
            parts=self._parts,
            audit=self._audited,
            last_terms=self._terms,
            dropped=self._dropped,
            shrunk=self._shrunk,
            outside=self._outside,
            seconds=self._seconds,
        )

    def _prepare(self) -> None:
        torch.manual_seed(self.seed)  # adapters start alike in every process
        # A microbatch without images leaves the vision encoder out; buffers never change.
        wrapping = DistributedDataParallelKwargs(
            broadcast_buffers=False, find_unused_parameters=True
        )
        self._accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[wrapping])
        self.backbone.to(self._accelerator.device)
        shown = {view.image for view in self.objective.views}
        for kind, pool in (("negative", "negatives"), ("shuffled", "strangers")):
            if kind in shown:
                getattr(self.mixture, pool).check()
        if "negative" in shown and self.schedule.grouped > 1:
            raise UsageError(
                f"grouped={self.schedule.grouped} brings responses of one length together, and "
                "contrastive tuning needs others beside each. Use grouped=1, or contrast=0."
            )
        groups = apply(self.backbone, self.train)
        self._parts = table(self.backbone, self.train)
        self._peaks = [group["lr"] for group in groups]
        self._slow = slow_weights(self.backbone.parts(), self.train)
        self._total = self.schedule.total(self.mixture.epoch_size)
        self._sampler = Sampler(
            self.mixture.epoch_size,
            self.schedule.batch_size,
            self.seed,
            functools.partial(self.mixture.order, self.seed),
            pool=self.schedule.grouped,
            length=lambda index: letters(self.mixture.readings(index)),
        )
        fused = self._accelerator.device.type == "cuda"
        self._optimizer: Any = AdamW(groups, weight_decay=self.schedule.weight_decay, fused=fused)
        self._engine = is_deepspeed(self._accelerator)
        if self._engine:
            configure(self._accelerator, self.schedule, autocast=self.precision == "bf16")
        self._wrapped, self._optimizer = self._accelerator.prepare(self.backbone, self._optimizer)
        self._sharded = sharding.is_sharded(self.backbone)
        self.backbone.anchored = self._sharded or self._engine
        if not self._sharded and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
            self._say(
                "FSDP was asked for, and accelerate shards on accelerators alone: nothing is."
            )
        if self._slow and (self._sharded or self._engine):
            raise UsageError(
                f"Momentum of {', '.join(self._slow)} averages whole weights between the gradient and the "
                "step, which FSDP cuts in pieces and DeepSpeed keeps to itself. Train with "
                "configs/ddp.yaml, or in one process."
            )
        if self.looks is not None and self._sharded:
            raise UsageError(
                "A watched stage is asked in the first process while the others wait, and FSDP cuts its "
                "weights in pieces. Train with configs/ddp.yaml, or without watch."
            )
        self._cached: bool | None = None  # whether features are kept; None until it is measured
        self._counts = Counts()
        self._by_data = ByData([dataset.name for dataset in self.mixture.datasets])
        alone = self._accelerator.num_processes == 1
        self._thrift = Thrift(self.backbone, self._say, alone=alone)
        self._update = self._dropped = self._shrunk = self._outside = 0
        self._seconds = 0.0
        self._terms: dict[str, float] = {}
        self._audited: Mapping[str, list[str]] = {}

    def _full(self) -> set[str]:
        return {part for part, how in self.train.items() if isinstance(how, Full)}

    # --- the loop -------------------------------------------------------------------------------

    def _loop(self) -> None:
        self._say(*lines(self._parts))
        views = self.objective.views
        self._thrift.begin(
            lambda: estimate(self.backbone, self.mixture, self._parts, self.schedule, views)
        )
        with self._caching() as encoder:
            if encoder is not None:
                encoder.on = self._cached
            self._train(encoder)
        if encoder is not None:
            for line in encoder.told():
                self._say(line)

    def _caching(self) -> AbstractContextManager[CachedEncoder | None]:
        """A cache of features, where there is a place for one and the vision encoder is frozen."""
        if self.features is None:
            return nullcontext()
        tower = self.backbone.parts()["vision_encoder"].values()
        reason = "weights are sharded" if self._sharded else ""
        trained = any(p.requires_grad for p in tower)
        reason = reason or obstacle(self.backbone, trained=trained)
        if self.mixture.augment.describe:
            reason = reason or "images are augmented"
        if reason:
            self._say(f"features: not cached, {reason}")
            return nullcontext()
        epochs = self._total * self.schedule.batch_size / self.mixture.epoch_size
        uses = max(self.uses, epochs)
        return caching(self.backbone, self.features, autocast=self.precision, uses=uses)

    def _train(self, encoder: CachedEncoder | None) -> None:
        main = self._accelerator.is_main_process
        journal = Journal(self.folder, resumed=self._update, active=main)
        progress = Progress(self._total, start=self._update, label=self.folder.name, active=main)
        feed = Feed(
            backbone=self.backbone,
            mixture=self.mixture,
            sampler=self._sampler,
            views=self.objective.views,
            size=self.schedule.microbatch_size,
            budget=self.schedule.microbatch_tokens,
            seed=self.seed,
            rank=self._accelerator.process_index,
            world=self._accelerator.num_processes,
            encoder=encoder,
        )
        self._audit: Audit | None = Audit(self.backbone)
        self._seen = False  # an image, by any process
        self.backbone.train()
        with Signals() as signals, progress, journal, prefetch(feed, depth=2) as works:
            while self._update < self._total:
                row = self._timed(works) | self._looked()
                journal.update(self._update, row)
                progress.update(self._update, row)
                number = int(self._gather([signals.caught]).max())
                due = self._update % self.save_every == 0 and self._update < self._total
                saved = self._save() if due or number else None
                if number:
                    raise Interrupted(number, self.folder, saved)
        if self._audit is None or self._audited:  # the latter by an earlier session
            return
        if self._audit.touched:
            self._report(self._audit, seen=True)
        else:
            raise ResidencyError(
                f"Nothing was learned in {self._total} updates: the length policy dropped every "
                "sample. Raise max_tokens, or choose too_long=shrink."
            )

    def _timed(self, works: Prefetch[Work]) -> dict[str, Any]:
        """The next update, its row for the journal, and the audit where it is still due."""
        waited, began = works.waited, time.perf_counter()
        work = next(works)
        row = self._step(work) | self._found()
        self._update += 1
        self._position = work.position
        if self._audit is not None and row["tokens"]:
            # A whole epoch without any image is no accident of order.
            never = work.position["epoch"] > 0 and not self._audited
            self._report(self._audit, seen=self._seen or never)
        seconds = time.perf_counter() - began
        self._seconds += seconds
        return row | {
            "epoch": work.position["epoch"] + work.position["position"] / self.mixture.epoch_size,
            "seconds": seconds,
            "data_wait": min(1.0, (works.waited - waited) / seconds),
        }

    def _report(self, audit: Audit, *, seen: bool) -> None:
        """Say what the audit found; it goes on where a part trains on images and none was seen."""
        found = audit.report(self.train, blind=self._engine, seen=seen)
        if found is None:
            return
        self._audited, self._audit = found, None
        received = ", ".join(found["received_gradient"])
        self._say(
            f"audit: frozen weights unchanged in {', '.join(found['unchanged'])}; "
            f"gradient received by {received or 'parts unseen, DeepSpeed consumes it'}"
        )

    def _looked(self) -> dict[str, Any]:
        """What the first process saw of the validation slice, where a look is due; a failure ends all."""
        if self.looks is None or not self.looks.due(self._update, self._total):
            return {}
        found, trouble = dict[str, Any](), None
        if self._accelerator.is_main_process:
            try:
                found = self.looks.after(self._update)
            except Exception as error:
                trouble = error
        failed = bool(self._gather([trouble is not None]).any())
        if failed:
            raise trouble or ResidencyError(
                f"The look after update {self._update} failed in the first process, which says why."
            )
        if found:
            told = ", ".join(f"{name} {value:.3f}" for name, value in found["watched"].items())
            self._say(f"look after update {self._update}: {told or 'no metric has a value'}")
        return found

    def _found(self) -> dict[str, Any]:
        """What this process found of the update's images in the cache of features, if any."""
        encoder = self.backbone.encoder
        if encoder is None:
            return {}
        self._cached = encoder.on
        for line in encoder.news:
            self._say(line)
        encoder.news = []
        before, self._counts = asdict(self._counts), encoder.counts
        return {"features": {k: n - before[k] for k, n in asdict(self._counts).items()}}

    def _step(self, work: Work) -> dict[str, Any]:
        """One update: all views of all microbatches, one backward each, one optimizer step.

        Every loss is divided by the response tokens of the global batch, so the gradient is the
        same however the batch is split over microbatches and processes.
        """
        counts = [work.tokens, work.dropped, work.shrunk, work.outside, work.shows]
        passed = kinds([*work.batches, *([work.filler] if work.filler else [])])
        shares = self._gather([*passed, len(work.batches), *counts])
        self._alike = bool(shares[:, 0].min() == shares[:, 1].max())
        rounds = int(shares[:, 2].max())
        tokens, dropped, shrunk, outside, shows = map(int, shares[:, 3:].sum(0).tolist())
        self._seen |= shows > 0
        self._dropped, self._shrunk = self._dropped + dropped, self._shrunk + shrunk
        self._outside += outside
        factor = self.schedule.factor(self._update, self._total)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        self._terms = {}
        learned: dict[str, Any] = {}
        if rounds:  # else all samples were dropped, and the update changes nothing
            sums = self._thrift.fit(
                lambda: self._backward(work, rounds, tokens), self._optimizer.zero_grad
            )
            norm = self._descend(sums, tokens)
            learned = {"loss": sum(self._terms.values()), "grad_norm": norm}
        return {
            **learned,
            "terms": self._terms,
            "lr": {g["name"]: g["lr"] for g in self._optimizer.param_groups},
            "by_data": self._by_data_told() if rounds else {},
            "tokens": tokens,
            "microbatches": rounds,
            "dropped": dropped,
            "shrunk": shrunk,
            "negatives_outside": outside,
        }

    def _backward(self, work: Work, rounds: int, tokens: int) -> dict[str, Tensor]:
        """Accumulate gradients; returns this process's sum of each term."""
        accelerator = self._accelerator
        sums: dict[str, Tensor] = {}
        self._by_data.reset()
        late = self._engine and not self._alike
        with together(accelerator) if late else nullcontext():
            for number in range(rounds):
                batch, looked, scale = work.round(number)
                last = number == rounds - 1
                if self.backbone.encoder is not None:
                    self.backbone.encoder.expect(looked)
                with nullcontext() if last else accelerator.no_sync(self._wrapped):
                    weighted = self._terms_of(batch, scale)
                    # Gradients are averaged over processes, the loss over all tokens.
                    loss = torch.stack(list(weighted.values())).sum() / tokens
                    accelerator.sync_gradients = last and not late  # there DeepSpeed's engine steps
                    accelerator.backward(loss * accelerator.num_processes)
                for name, value in weighted.items():
                    sums[name] = sums.get(name, 0.0) + value.detach()
        return sums

    def _terms_of(self, batch: Batch, scale: float) -> dict[str, Tensor]:
        """The sum of each term over the tokens of a microbatch, weighted by sample."""
        device = self._accelerator.device
        moved = to_device(batch, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            terms = self._wrapped(moved, self.objective)
        weights = moved.targets.weights * scale
        weighted = {name: term.float() * weights for name, term in terms.items()}
        if scale:
            self._by_data.add(moved, torch.stack(list(weighted.values())).sum(0))
        return {name: term.sum() for name, term in weighted.items()}

    def _descend(self, sums: Mapping[str, Tensor], tokens: int) -> float:
        """The optimizer step, unless something is not finite; returns the gradient norm."""
        if self._audit is not None and not self._engine:
            self._audit.gradients()
        totals = self._gather(torch.stack(list(sums.values())).tolist()).sum(0) / tokens
        self._terms = dict(zip(sums, totals.tolist(), strict=True))
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        clipped = self._accelerator.clip_grad_norm_(parameters, self.schedule.clip)
        norm = float(sharding.whole(clipped) if clipped is not None else 0.0)
        if not bool(torch.isfinite(torch.tensor([norm, *self._terms.values()])).all()):
            said = ", ".join(f"{name} {value:.4g}" for name, value in self._terms.items())
            raise ResidencyError(
                f"Update {self._update + 1} is not finite ({said}, gradient norm {norm:.4g}, "
                f"{tokens} tokens) and was not applied. Lower the learning rate, or look at the "
                f"data with `residency data check`. Journal: {self.folder / 'journal.jsonl'}."
            )
        for slow in self._slow.values():
            slow.before()
        self._optimizer.step()
        for slow in self._slow.values():
            slow.after()
        self._optimizer.zero_grad(set_to_none=True)
        return norm

    def _gather(self, values: list[Any]) -> Float[Tensor, "n k"]:
        """The same numbers of every process, a row each."""
        own = torch.tensor([values], dtype=torch.float32)
        if self._accelerator.num_processes == 1:
            return own
        gathered: Tensor = self._accelerator.gather(own.to(self._accelerator.device))
        return gathered.cpu()

    def _by_data_told(self) -> dict[str, dict[str, float]]:
        """The losses of the update by data set, over all processes; nothing where there is one set."""
        own = self._by_data.sums
        if len(own) < 2:
            return {}
        return self._by_data.told(self._gather(own.flatten().tolist()).sum(0).view(own.shape))

    def _say(self, *said: str) -> None:
        if self._accelerator.is_main_process:
            print("\n".join(said), flush=True)

    # --- saving and resuming --------------------------------------------------------------------

    def _save(self) -> int | None:
        """Commit a checkpoint and return its update; a failed save is reported and survived."""
        if self._engine:
            self._say(
                "warning: no checkpoint, DeepSpeed keeps the moments to itself. Training goes on."
            )
            return None
        main = self._accelerator.is_main_process
        weights = store.gathered(self.backbone, keep=main)
        moments = self._optimizer.optimizer.state_dict()
        if self._sharded:
            moments = sharding.whole_tree(moments, keep=main)
        if not main:
            return self._update
        changed = self.changed | self._full()

        def write(folder: Path) -> None:
            store.save(self.backbone, folder, changed=changed, weights=weights)
            checkpoint.save_tree(moments, folder / "optimizer")
            checkpoint.save_tree(self._state(), folder / "state")

        try:
            checkpoint.commit(
                self.folder / "checkpoints" / f"update-{self._update}", write, self.identity
            )
            checkpoint.prune(self.folder / "checkpoints", self.keep)
        except (checkpoint.SaveFailed, OSError) as error:
            self._say(f"warning: {error} Training goes on.")
            return None
        return self._update

    def _state(self) -> dict[str, object]:
        return {
            "update": self._update,
            "sampler": self._position,
            "rng": checkpoint.rng_state(),
            "slow": {part: slow.state() for part, slow in self._slow.items()},
            "so_far": {
                "dropped": self._dropped,
                "shrunk": self._shrunk,
                "outside": self._outside,
                "seconds": self._seconds,
                "terms": self._terms,
                "audit": dict(self._audited),
                "cached": self._cached,
                "thrift": self._thrift.reason,
                "best": self.looks.best if self.looks else {},
            },
        }

    def _resume(self) -> None:
        """Restore the newest valid checkpoint of this run, where there is one."""
        root = self.folder / "checkpoints"
        if self._accelerator.is_main_process:
            checkpoint.clean(root)
        self._accelerator.wait_for_everyone()
        found = checkpoint.newest(root, identity=self.identity)
        if found is not None:
            folder, _ = found
            store.restore(self.backbone, folder)
            checkpoint.load_optimizer(self._optimizer.optimizer, folder / "optimizer")
            state = checkpoint.load_tree(folder / "state")
            checkpoint.set_rng_state(state["rng"])
            self._sampler.restore(state["sampler"])
            self._position = state["sampler"]
            for part, slow in self._slow.items():
                slow.restore(state["slow"][part])
            self._update = int(state["update"])
            so_far = state["so_far"]
            self._dropped, self._shrunk = so_far["dropped"], so_far["shrunk"]
            self._outside, self._seconds = so_far["outside"], so_far["seconds"]
            self._terms, self._audited = so_far["terms"], so_far["audit"]
            self._cached = so_far["cached"]  # as it began: one rounding throughout
            self._thrift.reason = so_far["thrift"]
            if self.looks is not None:
                self.looks.best = so_far.get("best", {})
            self._say(f"Resuming from {folder.name} of {self._total}.")
        if rank := self._accelerator.process_index:  # dropout differs between processes
            torch.manual_seed(uniform(2**63, self.seed, self._update, rank))

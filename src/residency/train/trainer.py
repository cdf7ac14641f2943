"""The training loop: the only place where a gradient is taken."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import AdamW

from residency.data.mixture import Mixture, Sampler
from residency.data.stream import prefetch
from residency.errors import ResidencyError
from residency.model import store
from residency.model.huggingface import Backbone, to_device
from residency.objective import Objective
from residency.train import checkpoint
from residency.train.journal import Journal, Progress
from residency.train.state import (
    load_optimizer,
    load_tree,
    rng_state,
    save_optimizer,
    save_tree,
    set_rng_state,
)
from residency.train.trainable import Audit, PartRow, apply, table
from residency.train.values import Full, Schedule, Train
from residency.types import Batch, Reading


class Interrupted(ResidencyError):
    """The run was asked to stop and saved itself; `exit_code` is that of the signal."""

    def __init__(self, number: int, where: Path) -> None:
        super().__init__(f"Stopped by signal {number}; the run goes on from {where} when repeated.")
        self.exit_code = 128 + number


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage did: for the terminal, the report and the tests."""

    updates: int
    parts: list[PartRow]
    audit: Mapping[str, list[str]]
    last_terms: Mapping[str, float]
    dropped: int
    shrunk: int
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
    precision: str = "no"  # accelerate's mixed_precision: no, bf16, fp16
    save_every: int = 500  # updates
    keep: int = 2

    def __call__(self) -> Outcome:
        """Train to the end, resuming from the newest valid checkpoint of the same run.

        Raises:
            ResidencyError: a loss that is not finite, or an audit that failed.
            Interrupted: SIGINT or SIGTERM, after the update in flight was finished and saved.
        """
        torch.manual_seed(self.seed)
        self._accelerator = Accelerator(mixed_precision=self.precision)
        self.backbone.to(self._accelerator.device)
        groups = apply(self.backbone, self.train)
        self._parts = table(self.backbone, self.train)
        self._bases = [group["lr"] for group in groups]
        self._total = self.schedule.total(len(self.mixture))
        self._sampler = Sampler(len(self.mixture), self.schedule.batch_size, self.seed)
        if any(view.image == "negative" for view in self.objective.views):
            self.mixture.negatives.check()
        fused = self._accelerator.device.type == "cuda"
        self._optimizer: Any = AdamW(groups, weight_decay=self.schedule.weight_decay, fused=fused)
        self._wrapped, self._optimizer = self._accelerator.prepare(self.backbone, self._optimizer)
        self._update = self._resume()
        self._dropped = self._shrunk = 0
        self._terms: dict[str, float] = {}
        self._audit: Mapping[str, list[str]] = {}
        began = time.perf_counter()
        if self._update < self._total:
            self._loop()
        self.changed |= {part for part, how in self.train.items() if isinstance(how, Full)}
        self.backbone.requires_grad_(False).eval()
        return Outcome(
            updates=self._update,
            parts=self._parts,
            audit=self._audit,
            last_terms=self._terms,
            dropped=self._dropped,
            shrunk=self._shrunk,
            seconds=time.perf_counter() - began,
        )

    # --- the loop -------------------------------------------------------------------------------

    def _loop(self) -> None:
        main = self._accelerator.is_main_process
        journal = Journal(self.folder, resumed=self._update, active=main)
        progress = Progress(self._total, start=self._update, label=self.folder.name, active=main)
        audit: Audit | None = Audit(self.backbone)
        self.backbone.train()
        with (
            _Signals() as signals,
            progress,
            journal,
            prefetch(self._batches(), depth=2) as batches,
        ):
            while self._update < self._total:
                waited, began = batches.waited, time.perf_counter()
                microbatches, position = next(batches)
                row = self._step(microbatches, audit)
                self._update += 1
                self._position = position
                if audit is not None:
                    self._audit = audit.report(self.train)
                    audit = None
                seconds = time.perf_counter() - began
                row |= {
                    "epoch": position["epoch"] + position["position"] / len(self.mixture),
                    "seconds": seconds,
                    "data_wait": min(1.0, (batches.waited - waited) / seconds),
                }
                journal.update(self._update, row)
                progress.update(self._update, row)
                due = self._update % self.save_every == 0 and self._update < self._total
                if due or signals.caught:
                    self._save()
                if signals.caught:
                    raise Interrupted(signals.caught, self.folder)

    def _batches(self) -> Iterator[tuple[list[Batch], dict[str, int]]]:
        """The microbatches of each update, prepared off the critical path."""
        rank, world = self._accelerator.process_index, self._accelerator.num_processes
        views, size = self.objective.views, self.schedule.microbatch_size
        while True:
            epoch = self._sampler.epoch
            for indices, position in self._sampler.with_state():
                own = indices[rank::world] or indices[:1]  # every rank takes part in every update
                readings = [
                    self.mixture.reading(i, self.seed, epoch=epoch, views=views) for i in own
                ]
                readings.sort(key=_letters)  # rows of like length share a microbatch
                made = [
                    self.backbone.collate(readings[k : k + size], views)
                    for k in range(0, len(readings), size)
                ]
                yield made, position

    def _step(self, microbatches: list[Batch], audit: Audit | None) -> dict[str, Any]:
        """One update: all views of all microbatches, one backward each, one optimizer step."""
        accelerator = self._accelerator
        dropped = sum(len(batch.dropped) for batch in microbatches)
        shrunk = sum(len(batch.shrunk) for batch in microbatches)
        self._dropped, self._shrunk = self._dropped + dropped, self._shrunk + shrunk
        microbatches = [batch for batch in microbatches if len(batch.targets.tokens)]
        tokens = torch.tensor(
            float(sum(len(batch.targets.tokens) for batch in microbatches)),
            device=accelerator.device,
        )
        tokens = accelerator.reduce(tokens, "sum")
        sums: dict[str, Tensor] = {}
        for k, batch in enumerate(microbatches):
            moved = to_device(batch, accelerator.device)
            last = k == len(microbatches) - 1
            with accelerator.no_sync(self._wrapped) if not last else nullcontext():
                with accelerator.autocast():
                    logits = self._wrapped(moved)
                    terms = self.objective(logits, moved.targets)
                weighted = {name: (t * moved.targets.weights).sum() for name, t in terms.items()}
                loss = torch.stack(list(weighted.values())).sum() / tokens
                self._refuse_nonfinite(loss, weighted, batch)
                accelerator.backward(loss * accelerator.num_processes)
            for name, value in weighted.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
        if audit is not None:
            audit.gradients()
        factor = self.schedule.factor(self._update, self._total)
        for group, base in zip(self._optimizer.param_groups, self._bases, strict=True):
            group["lr"] = base * factor
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        norm = accelerator.clip_grad_norm_(parameters, self.schedule.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        means = {
            name: float(accelerator.reduce(value, "sum") / tokens) for name, value in sums.items()
        }
        self._terms = means
        return {
            "loss": sum(means.values()),
            "terms": means,
            "lr": {g["name"]: g["lr"] for g in self._optimizer.param_groups},
            "grad_norm": float(norm),
            "tokens": int(tokens),
            "dropped": dropped,
            "shrunk": shrunk,
        }

    def _refuse_nonfinite(self, loss: Tensor, weighted: Mapping[str, Tensor], batch: Batch) -> None:
        if not bool(torch.isfinite(loss)):
            values = {name: float(value) for name, value in weighted.items()}
            raise ResidencyError(
                f"The loss is not finite at update {self._update + 1} ({values}, "
                f"{len(batch.targets.tokens)} tokens). Lower the learning rate, or look at the "
                f"samples of this update with `residency data check`. Journal: {self.folder}."
            )

    # --- saving and resuming --------------------------------------------------------------------

    def _save(self) -> None:
        """Commit a checkpoint; a failed save is reported and training goes on."""
        if not self._accelerator.is_main_process:
            return
        changed = self.changed | {p for p, how in self.train.items() if isinstance(how, Full)}

        def write(folder: Path) -> None:
            store.save(self.backbone, folder, changed=changed)
            save_optimizer(self._optimizer.optimizer, folder / "optimizer")
            state = {"update": self._update, "sampler": self._position, "rng": rng_state()}
            save_tree(state, folder / "state")

        try:
            checkpoint.commit(
                self.folder / "checkpoints" / f"update-{self._update}", write, self.identity
            )
            checkpoint.prune(self.folder / "checkpoints", self.keep)
        except checkpoint.SaveFailed as error:
            self._accelerator.print(f"warning: {error} Training goes on.")

    def _resume(self) -> int:
        """Restore the newest valid checkpoint of this run; 0 where there is none."""
        found = checkpoint.newest(self.folder / "checkpoints", identity=self.identity)
        if found is None:
            return 0
        folder, _ = found
        store.restore(self.backbone, folder)
        load_optimizer(self._optimizer.optimizer, folder / "optimizer")
        state = load_tree(folder / "state")
        set_rng_state(state["rng"])
        self._sampler.restore(state["sampler"])
        self._accelerator.print(f"Resuming from {folder.name}.")
        return int(state["update"])


def _letters(reading: Reading) -> int:
    """A cheap stand-in for the length of a row."""
    return sum(len(part) for t in reading.conversation for part in t.parts if isinstance(part, str))


class _Signals:
    """Notes SIGINT and SIGTERM instead of dying at once; a second signal does what it always did."""

    def __init__(self) -> None:
        self.caught = 0
        self._old: dict[int, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame  # the signature is Python's
        self.caught = number
        signal.signal(number, self._old[number])

    def __enter__(self) -> "_Signals":
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._old[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: signals are somebody else's
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

"""Small training runs; as a script, one of two processes that train together (see test_trainer)."""

import copy
import os
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

import models
from residency.data.mixture import Mixture
from residency.dataset import Dataset
from residency.errors import DataError, ResidencyError
from residency.model import store
from residency.model.huggingface import Backbone, Limits
from residency.model.sharding import whole
from residency.objectives.likelihood import Likelihood
from residency.objectives.vitask import VITask
from residency.recipe import Recipe, execute
from residency.step import BASE
from residency.task import Wording
from residency.train.stage import Stage
from residency.train.trainer import Outcome, Run
from residency.train.values import Full, LoRA, Schedule, Train
from residency.types import Sample

ANSWERS = ("red", "blue square", "one red circle, left of a blue square; nothing else")
LONG = "图中有多少个红色圆形？" * 3
LM: dict[str, Train] = {"language_model": LoRA(lr=1e-2, rank=2, alpha=4)}
CONNECT: dict[str, Train] = {**LM, "exemplar_connector": Full(lr=1e-2)}
# Adam turns rounding of a gradient near zero into a whole step: comparisons take tiny ones.
QUIET_LM: dict[str, Train] = {"language_model": LoRA(lr=1e-6, rank=2, alpha=4)}
QUIET: dict[str, Train] = {**QUIET_LM, "exemplar_connector": Full(lr=1e-6)}
STAGE_1, STAGE_2 = VITask(align=1.0, contrast=0.0), VITask(align=0.5, contrast=0.5)


def sample(number: int, answer: str) -> Sample:
    return Sample(
        id=f"s{number}",
        dataset="noise",
        task="vqa",
        question="What is it?",
        answer=answer,
        images=(models.picture(number),),
    )


def dataset(n: int = 6, answers: tuple[str, ...] = ANSWERS, digest: str = "d0") -> Dataset:
    """Unequal responses, one question: everything has a negative."""
    samples = tuple(sample(k, answers[k % len(answers)]) for k in range(n))
    return Dataset(
        name="noise", splits={"train": samples, "test": samples}, labels=answers, digest=digest
    )


def mixture(backbone: Backbone, *args: Any, **kwargs: Any) -> Mixture:
    return Mixture.of(
        [dataset(*args, **kwargs)], "train", wording=Wording(), codec=backbone.codec, seed=0
    )


@cache
def _loaded() -> Backbone:
    return models.backbone("qwen2_vl")


def fresh() -> Backbone:
    """A tiny Qwen2-VL, copied instead of loaded again."""
    one = _loaded()
    return Backbone(one.name, one.family, copy.deepcopy(one.model), one.processor, one.base).eval()


def run(folder: Path, *, n: int = 6, answers: tuple[str, ...] = ANSWERS, **changes: Any) -> Run:
    """Plain LoRA tuning of a tiny Qwen2-VL; `changes` are fields of `Run`."""
    backbone = changes.pop("backbone", None) or fresh()
    schedule = {"updates": 3, "batch_size": 4, "microbatch_size": 4, "warmup": 0.0}
    settings: dict[str, Any] = {
        "objective": Likelihood(),
        "train": LM,
        "seed": 3,
        "folder": folder,
        "identity": {"run": "test"},
        "mixture": mixture(backbone, n, answers),
        **changes,
        "schedule": Schedule(**{**schedule, **changes.get("schedule", {})}),
    }
    return Run(backbone=backbone, **settings)


def with_expert() -> Backbone:
    backbone = fresh()
    backbone.attach(models.expert(), seed=1)
    return backbone


def gradients(one: Run) -> tuple[Outcome, list[dict[str, torch.Tensor]]]:
    """Run it; returns the gradient of every update before it is clipped."""
    seen: list[dict[str, torch.Tensor]] = []
    descend = one._descend

    def noted(*args: Any) -> float:
        named = one.backbone.named_parameters()
        seen.append({n: whole(p.grad).clone() for n, p in named if p.grad is not None})
        return descend(*args)

    one._descend = noted  # type: ignore[method-assign]
    return one(), seen


# Runs whose gradients two processes must agree on with one. The second update of `uneven` has one
# sample, so one process has none; in `dropped` the length policy leaves one process without any.
def uneven(folder: Path) -> Run:
    schedule = {"updates": 2, "batch_size": 4, "microbatch_size": 1}
    settings = {"objective": STAGE_2, "backbone": with_expert(), "train": QUIET}
    return run(folder, n=5, schedule=schedule, **settings)


def dropped(folder: Path) -> Run:
    backbone = fresh()
    backbone.limits = Limits(max_tokens=60, too_long="drop")
    schedule = {"updates": 2, "batch_size": 4, "microbatch_size": 2}
    return run(
        folder, n=8, answers=("red", LONG), schedule=schedule, backbone=backbone, train=QUIET_LM
    )


def imageless(folder: Path) -> Run:
    """One sample of four has an image, and the vision encoder trains: a process has none to see."""
    backbone, data = fresh(), dataset(4)
    samples = tuple(replace(s, images=s.images[k:]) for k, s in enumerate(data.splits["train"]))
    mixed = Mixture.of(
        [replace(data, splits={"train": samples})], "train", wording=Wording(), codec=backbone.codec,
        seed=0,
    )  # fmt: skip
    train = {**QUIET_LM, "vision_encoder": Full(lr=1e-6)}
    schedule = {"updates": 2, "batch_size": 4, "microbatch_size": 1}
    return run(folder, mixture=mixed, backbone=backbone, train=train, schedule=schedule)


KINDS = (uneven, dropped, imageless)
SHARDED = (uneven, imageless)  # and under FSDP2
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "NO_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "false",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}  # what `accelerate launch` makes of configs/fsdp2.yaml


def recipe(folder: Path) -> Recipe:
    stage = Stage(
        name="tune",
        after=BASE,
        data=("noise",),
        objective=Likelihood(),
        train=LM,
        schedule=Schedule(updates=2, batch_size=4, microbatch_size=2),
    )
    base = str(models.folder("qwen2_vl"))
    return Recipe(name="tiny", base=base, out=str(folder), seed=3, steps=(stage,))


def plain(folder: Path) -> Run:
    """Three updates that change something, of microbatches that are accumulated."""
    schedule = {"updates": 3, "batch_size": 4, "microbatch_size": 1}
    return run(folder, n=8, schedule=schedule)


def cast(folder: Path) -> Run:
    """`plain` in bf16."""
    return replace(plain(folder), precision="bf16")


ENGINE = (plain, *KINDS, cast)  # and under DeepSpeed, which shows no gradient


def launched(folder: Path, base: Path) -> None:
    """What each process of a launch with DeepSpeed does."""
    import residency.step
    from residency import recipe as recipes

    models.folder = lambda family: base  # type: ignore[assignment]
    residency.step.open_dataset = lambda spec: dataset()
    torch.set_num_threads(1)
    recipes._join()
    for kind in ENGINE:
        kind(folder / kind.__name__)()
    blinded(folder)
    execute(recipe(folder / "recipe"))


def main(folder: Path, base: Path) -> None:
    """What each of the two processes does; the first writes down what it saw."""
    from accelerate import PartialState
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    import residency.step

    models.folder = lambda family: base  # type: ignore[assignment]
    residency.step.open_dataset = lambda spec: dataset()
    torch.set_num_threads(1)
    for kind in KINDS:
        noted(kind(folder / kind.__name__), folder / kind.__name__)
    execute(recipe(folder / "recipe"))
    blinded(folder)
    # Accelerate shards on accelerators alone, torch on a CPU as well: only the name of the machine differs.
    AcceleratorState._reset_state()
    os.environ.update(FSDP2)
    PartialState().distributed_type = DistributedType.MULTI_GPU
    for kind in SHARDED:
        place = folder / f"sharded-{kind.__name__}"
        noted(replace(kind(place), save_every=1), place)
        again = replace(kind(place), save_every=1)  # from its checkpoint at update 1
        again()
        rank = PartialState().process_index
        weights = store.gathered(again.backbone, keep=not rank)
        assert weights is not None, "nothing was sharded"
        if not rank:
            (place / "saved").mkdir()
            store.save(again.backbone, place / "saved", changed=again.changed, weights=weights)
    PartialState().destroy_process_group()


class Blind:
    """Looks of which the first one fails, in the process that looks."""

    best: dict[str, Any] = {}  # noqa: RUF012 - never written

    def due(self, update: int, total: int) -> bool:
        return True

    def after(self, update: int) -> dict[str, Any]:
        raise DataError(f"nothing to see after update {update}")


def blinded(folder: Path) -> None:
    """A run that is watched in vain ends in every process; each writes down why."""
    from accelerate import PartialState

    looks: Any = Blind()
    try:
        run(folder / "blinded", looks=looks)()
    except ResidencyError as error:
        rank = PartialState().process_index
        (folder / f"blinded-{rank}.txt").write_text(f"{type(error).__name__}: {error}")


def noted(one: Run, place: Path) -> None:
    """Run it, and write every gradient that this process saw."""
    from accelerate import PartialState

    outcome, seen = gradients(one)
    rank = PartialState().process_index
    for number, named in enumerate(seen):
        save_file(named, place.with_name(f"{place.name}-{number}-{rank}.safetensors"))
    if not rank:
        place.with_name(f"{place.name}.txt").write_text(f"{outcome.dropped}")


if __name__ == "__main__":
    does = launched if "ACCELERATE_USE_DEEPSPEED" in os.environ else main
    does(Path(sys.argv[1]), Path(sys.argv[2]))

"""AdaMLLM's line: what its arms share is made once, then each arm is combined, trained and tested."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from residency import adaptation, line
from residency import adaptation_presets as presets
from residency.adaptation import Plan
from residency.catalog import suggest
from residency.errors import UsageError
from residency.evaluate.steps import Evaluate
from residency.step import BASE, Step
from residency.synthesis.combining import Combine, Response
from residency.synthesis.combining import Tasks as TaskKind
from residency.synthesis.engine import Sampling, kind_of
from residency.synthesis.export import Export
from residency.synthesis.filtering import Filter
from residency.synthesis.losses import Losses
from residency.synthesis.pairs import Captions, Source
from residency.synthesis.seed import Seed
from residency.synthesis.synthesizer import Synthesize

PIPELINES = ("single", "two_stage")
# Table 5's columns, and whether each has a caption task and a task about the domain's pairs.
BOTH = ("ours", "no_blank", "precise_only", "informative_only")
COLUMNS = (*BOTH, "no_task", "no_caption", "general_task", "general_task_caption")
RESPONSES: Mapping[str, Response] = {
    "precise_only": "precise", "informative_only": "informative",
}  # fmt: skip
EVALUATED = 32  # questions at once
S = TypeVar("S", bound=Step)


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """Whose tasks, which column of Table 5, one stage or two; `name` is that of its model's step."""

    name: str
    tasks: str  # ours, rules, or a data set
    column: str
    two_stage: bool
    written: str  # arms of one such name have the same tasks, put together in different ways

    @property
    def kind(self) -> TaskKind:
        """Where the tasks of the domain's pairs come from."""
        if self.column == "no_task":
            return "none"
        return {"ours": "synthetic", "rules": "rules"}.get(self.tasks, "file")  # type: ignore[return-value]

    @property
    def general(self) -> bool:
        """Whether the tasks are those of the seed."""
        return self.column.startswith("general")


def arms(
    tasks: tuple[str, ...], columns: tuple[str, ...], pipelines: tuple[str, ...]
) -> tuple[Arm, ...]:
    """Every combination that exists: tasks of others or by rule have no responses to choose from, and
    two stages need captions and tasks.

    Raises:
        UsageError: an unknown column or pipeline, or no combination exists.
    """
    for what, given, known in (("column", columns, COLUMNS), ("pipeline", pipelines, PIPELINES)):
        for name in given:
            if name not in known:
                hint = suggest(name, list(known))
                raise UsageError(f"{what}={name}.{hint} Choose from {', '.join(known)}.")
    found = []
    for number, source in enumerate(dict.fromkeys(tasks), 1):
        own = source == "ours"
        for column in dict.fromkeys(columns):
            if not own and column not in ("ours", "no_caption"):
                continue
            whose = (
                "" if own else "rules" if source == "rules" else f"others{number}_{_stem(source)}"
            )
            name = "_".join(filter(None, (whose, column if own or column != "ours" else "")))
            written = whose or {"no_caption": "ours", "general_task_caption": "general_task"}.get(
                column, column
            )
            for pipeline in dict.fromkeys(pipelines):
                two = pipeline == "two_stage"
                if not two or column in BOTH:
                    named = name + ("_two_stage" if two else "")
                    found.append(
                        Arm(name=named, tasks=source, column=column, two_stage=two, written=written)
                    )
    if not found:
        raise UsageError(
            f"tasks={','.join(tasks)} column={','.join(columns)} pipeline={','.join(pipelines)} do not "
            f"go together: two stages need captions and tasks (column={'|'.join(BOTH)}), and tasks of "
            "others or by rule have the columns ours and no_caption."
        )
    return tuple(found)


def _stem(source: str) -> str:
    """What a file or data set is called, as a part of the names of steps."""
    return re.sub(r"\W+", "_", source.rpartition("/")[2].partition(".")[0])[:40].strip("_")


def post_training(settings: Mapping[str, Any]) -> tuple[Step, ...]:
    """The whole line of the recipe `adamllm`, from its parameters.

    Raises:
        UsageError: settings that do not go together.
    """
    made = Line(settings)
    served, judge = kind_of(settings["engine"]).served, kind_of(settings["judge_engine"])
    if settings["judge"] == "tuned" and (judge.served or judge.foreign):
        raise UsageError(
            f"judge=tuned is asked by judge_engine=local or ray, and {settings['judge_engine']} cannot read "
            "it. Leave judge= out."
        )
    if (settings["synthesizer"] or served) and "no_blank" in settings["column"]:
        raise UsageError(
            "column=no_blank tunes a synthesizer of its own: leave synthesizer= out, and ask it by "
            "engine=local."
        )
    if settings["baselines"]:
        made.measure(BASE, "generalist", "")
    for arm in arms(settings["tasks"], settings["column"], settings["pipeline"]):
        made.arm(arm)
    return tuple(made.steps.values())


class Line:
    """Steps in the order in which they are first needed; equal names are one step."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.get = settings.__getitem__
        self.plan = Plan.of(settings)
        self.judging = adaptation.Judging(
            count=self.get("quality"), engine=self.get("judge_engine"), types=self.get("types")
        )
        self.steps: dict[str, Step] = {}
        judge, asked = self.get("judge"), kind_of(self.get("judge_engine"))
        if judge == "auto":
            small = line.is_nano(self.plan.base) and not (asked.served or asked.foreign)
            judge = "tuned" if small else "base"
        self.tuned = judge == "tuned"
        self.judge = "" if judge in ("tuned", "base") else judge
        every = [presets.asked(spec) for spec in self.get("test")]
        self.others = tuple(spec for spec, preset in every if preset is None)
        self.columns = presets.benchmark(
            tuple(spec for spec, preset in every if preset is not None),
            base=self.plan.base, batch_size=EVALUATED, limits=self.plan.limits,
        )  # fmt: skip

    def add(self, step: S) -> S:
        """The step of that name: this one, unless it is there already."""
        return self.steps.setdefault(step.name, step)  # type: ignore[return-value]

    def seed(self, suffix: str = "") -> Seed:
        """The seed; `_no_blank` shows every image."""
        return self.add(
            Seed(
                name=f"seed{suffix}",
                data=self.get("seeds"),
                form=self.get("form"),
                blank=0.0 if suffix else self.get("blank"),
                exclude=self.excluded,
            )
        )

    def copier(self) -> None:
        """What teaches the base to copy, where it cannot."""
        for step in self.plan.copier():
            self.add(step)

    def synthetic(self, suffix: str) -> Synthesize:
        """What the synthesizer given, or one tuned on its seed, writes about the domain's pairs."""
        given, name = self.get("synthesizer") or "", f"synthesizer{suffix}"
        if kind_of(self.get("engine")).served:  # it has a synthesizer of its own
            name = BASE
        elif not given:
            self.copier()
            epochs = self.get("synthesizer_epochs")
            self.add(adaptation.synthesizer(self.plan, self.seed(suffix), name=name, epochs=epochs))
        return self.add(
            Synthesize(
                name=f"synthesise{suffix}",
                of=name,
                source=given,
                about=self.pairs(),
                form=self.get("form"),
                engine=self.get("engine"),
                sampling=Sampling(max_tokens=self.get("reply_tokens")),
            )
        )

    def filtered(self, triplets: Source, suffix: str) -> Filter:
        """The verdicts on triplets, of the judge given, or of one that is tuned first, or the base."""
        if self.tuned:
            self.copier()
            epochs = self.get("judge_epochs")
            for step in adaptation.judge_steps(self.plan, self.seed(), epochs=epochs):
                self.add(step)
        prompt = self.get("judge_prompt")
        if prompt == "auto":
            prompt = "short" if self.tuned else "few_shot"
        return self.add(
            Filter(
                name=f"filter{suffix}",
                triplets=triplets,
                judge="judge" if self.tuned else BASE,
                source=self.judge,
                engine=self.get("judge_engine"),
                prompt=prompt,
            )
        )

    def pairs(self) -> Captions:
        """The domain's pairs."""
        return self.add(Captions(name="pairs", data=self.get("data"), exclude=self.excluded))

    @property
    def excluded(self) -> tuple[str, ...]:
        """The data sets whose evaluation images nothing may be made of."""
        return self.get("test") if self.get("exclude") else ()

    def captions(self) -> Combine:
        """The caption task of every pair."""
        return self.add(Combine(name="captions", triplets=self.pairs(), tasks="none"))

    def tasks(self, arm: Arm) -> Combine:
        """The tasks of an arm, with the captions where they share a stage."""
        suffix = "_no_blank" if arm.column == "no_blank" else "_general" if arm.general else ""
        source: Source
        if arm.general:
            source = self.seed()
        else:
            source = self.synthetic(suffix) if arm.kind == "synthetic" else self.pairs()
        judged = arm.kind == "synthetic" and arm.column not in RESPONSES
        return self.add(
            Combine(
                name=f"{arm.name}_tasks",
                triplets=source,
                kept=self.filtered(source, suffix) if judged else None,
                response=RESPONSES.get(arm.column, "combined"),
                caption=not (arm.two_stage or arm.general or arm.column == "no_caption"),
                tasks=arm.kind,
                pool=self.get("templates"),
                file=arm.tasks if arm.kind == "file" else "",
            )
        )

    def arm(self, arm: Arm) -> None:
        """Combine, export and judge what an arm learns; train and test it."""
        made: tuple[Combine, ...] = (
            self.captions() if arm.column == "no_task" else self.tasks(arm),
        )
        if arm.column == "general_task_caption":
            made += (self.captions(),)
        first = (self.captions(),) if arm.two_stage else ()
        self.show(arm, (*made, *first))
        stage = self.plan.stage(arm.name, made, epochs=self.get("epochs"))
        if arm.two_stage:
            self.add(self.plan.connect("stage1", first, epochs=self.get("epochs")))
            self.measure("stage1", "adamllm", "captions, stage 1 of 2")
            stage = replace(stage, after="stage1")
        self.add(stage)
        self.measure(arm.name, "adamllm", arm.name)

    def show(self, arm: Arm, learned: tuple[Combine, ...]) -> None:
        """Export everything that an arm learns from, and judge its tasks; each once for all arms."""
        if self.get("export"):
            for one in learned:
                self.add(Export(name=f"{one.name.removesuffix('_tasks')}_export", of=one))
        if arm.kind != "none":
            for step in self.judging.steps(f"{arm.written}_quality", learned[0]):
                self.add(step)

    def measure(self, of: str, method: str, variant: str) -> None:
        """A model's loss on captions and tasks, and its answers to the test sets."""
        data, limits = self.get("data"), self.plan.limits
        test = tuple(spec for step in self.columns for spec in step.data) + self.others
        self.add(
            Losses(
                name=f"{'generalist' if of == BASE else of}_losses", of=of, data=data, tasks=test,
                method=method, variant=variant, limits=limits,
            )
        )  # fmt: skip
        self.test(of, method, variant)

    def test(self, of: str, method: str, variant: str) -> None:
        """A model on the domain's test sets: those of the paper by their presets, others together."""
        name = "generalist" if of == BASE else of
        for number, step in enumerate(self.columns, 1):
            column = f"{name}_column{number}"
            self.add(replace(step, name=column, of=of, method=method, variant=variant))
        if self.others:
            self.add(
                Evaluate(
                    name=f"{name}_test", of=of, data=self.others, method=method, variant=variant,
                    max_tokens=self.get("reply_tokens"), limits=self.plan.limits,
                )
            )  # fmt: skip

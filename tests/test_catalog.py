"""Every entry of a collection keeps its contract; the file name is the registry."""

import inspect

import pytest

from residency import catalog
from residency.dataset import Dataset
from residency.errors import DataError, UsageError
from residency.metric import metric, metrics
from residency.parameters import parameters

COMMON_KEYS = ("base", "data", "out", "seed", "limit", "baselines", "on_bad", "max_bad")


def entries(collection: str):
    """Run a test once for every entry; a broken entry fails alone."""
    return pytest.mark.parametrize("name", catalog.names(collection))


def takes(function, *expected: str) -> None:
    """The function can be called with these positional arguments."""
    inspect.signature(function).bind(*expected)


@entries("datasets")
def test_a_dataset_module_recognises_and_loads(name, tmp_path):
    module = catalog.find("datasets", name)
    assert not module.recognises(tmp_path), "an empty folder has no layout"
    unknown = tmp_path / "something.bin"
    unknown.write_bytes(b"\x00\x01")
    assert not module.recognises(unknown), "two bytes have no layout"
    takes(module.load, "where")
    assert inspect.signature(module.load).return_annotation in (Dataset, "Dataset")


@entries("tasks")
def test_a_task_module_asks_writes_and_reads(name):
    module = catalog.find("tasks", name)
    takes(module.ask, "sample", "wording")
    takes(module.write, "sample", "codec")
    takes(module.read, "text", "sample", "codec")
    assert module.templates and all(isinstance(name, str) for name in module.templates)
    assert set(module.metrics) <= set(metrics())
    assert module.metrics


@entries("metrics")
def test_a_metric_module_is_a_metric_or_lists_some(name):
    module = catalog.find("metrics", name)
    listed = getattr(module, "metrics", (module,))
    assert listed
    for one in listed:
        assert isinstance(one.id, str) and one.id.partition("@")[0]
        assert isinstance(one.higher_is_better, bool)
        takes(one.prepare, "predictions", "labels")
        takes(one.value, "statistics", "weights")
        assert metric(one.id) is one


@entries("backbones")
def test_a_backbone_module_names_its_family(name):
    module = catalog.find("backbones", name)
    assert module.model_types
    for function in ("prefixes", "slots", "pixels", "span", "features"):
        assert callable(getattr(module, function)), function


@entries("objectives")
def test_an_objective_module_defines_one(name):
    module = catalog.find("objectives", name)
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__
    ]
    assert any(hasattr(value, "views") and "__call__" in vars(value) for value in own)


@entries("recipes")
def test_a_recipe_module_has_the_common_keys(name):
    module = catalog.find("recipes", name)
    known = parameters(module.recipe)
    positional = [p for p in inspect.signature(module.recipe).parameters if p not in known]
    assert not positional, "every parameter of a recipe is keyword-only"
    for key in COMMON_KEYS:
        assert key in known, key
    assert known["seed"].type is int
    assert known["baselines"].type is bool
    assert (known["limit"].type, known["limit"].default) == (int | None, None)
    assert all(p.default is not inspect.Parameter.empty for p in known.values())
    assert (inspect.getdoc(module.recipe) or "").strip(), "a recipe says what it does"


@pytest.mark.parametrize(
    "collection", ["datasets", "tasks", "metrics", "objectives", "backbones", "recipes"]
)
def test_an_entry_opens_with_its_source(collection):
    for name in catalog.names(collection):
        assert (catalog.find(collection, name).__doc__ or "").strip(), f"{collection}.{name}"


def test_metric_ids_are_unique():
    modules = [catalog.find("metrics", name) for name in catalog.names("metrics")]
    ids = [one.id for module in modules for one in getattr(module, "metrics", (module,))]
    assert len(ids) == len(set(ids))


def test_a_misspelt_metric_gets_a_suggestion_with_its_variant():
    with pytest.raises(UsageError, match=r"No metric 'rouge_l@coc'. Did you mean 'rouge_l@coco'\?"):
        metric("rouge_l@coc")


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(UsageError) as raised:
        catalog.find("objectives", "vitaks")
    assert "Nothing named 'vitaks' in residency.objectives. Did you mean 'vitask'?" in str(
        raised.value
    )
    assert "Available: likelihood, vitask." in str(raised.value)


def test_a_name_without_a_neighbour_gets_the_list_only():
    with pytest.raises(UsageError) as raised:
        catalog.find("objectives", "zzz")
    assert "Did you mean" not in str(raised.value)


def test_a_path_that_nothing_reads_is_refused(tmp_path):
    from residency.dataset import open_dataset

    with pytest.raises(DataError, match="No such file or folder"):
        open_dataset(str(tmp_path / "absent.npz"))
    with pytest.raises(DataError, match="Did you mean 'phantoms'"):
        open_dataset("phantom")
    (tmp_path / "odd.bin").write_bytes(b"\x00")
    with pytest.raises(UsageError, match="no reader recognises its layout"):
        open_dataset(str(tmp_path / "odd.bin"))

"""What a synthesis costs before it runs: GPU hours by the paper's own figures, disk, shards."""

from residency.model import store
from residency.synthesis.store import SHARD

# AdaMLLM, appendix B: 100,000 pairs take 10 hours to synthesise about and 2.5 to filter, on one
# A100-80G with vLLM and 8 B parameters. Hours are taken as proportional to pairs and parameters (ours).
HOURS = {"synthesise": 10.0, "filter": 2.5}
PAIRS, PARAMETERS = 100_000, 8.0e9
ROW_BYTES = {"synthesise": 1500, "filter": 900}  # ours; nano's rows take 500, others say more


def describe(job: str, pairs: int, model: str, *, served: bool) -> str:
    """One line for `residency plan`; a served model's size is not known, 8 B is said instead."""
    size = PARAMETERS if served else parameters(model)
    hours = HOURS[job] * pairs / PAIRS * size / PARAMETERS
    disk = pairs * ROW_BYTES[job] / 2**30
    shards = -(-pairs // SHARD)
    many = f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"
    return (
        f"about {many} hours of an A100-80G with vLLM for {size / 1e9:.3g} B parameters "
        f"{'(a guess: the model is served) ' if served else ''}by the paper's rate, "
        f"{disk:.2g} GiB in {shards:,} shards"
    )


def parameters(model: str) -> int:
    """Of a model, counted without its weights."""
    return sum(parameter.numel() for parameter in store.empty(store.root(model)).parameters())

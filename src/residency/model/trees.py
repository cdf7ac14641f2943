"""Rows that begin alike, written as trees: whatever they share is read once.

Two rows of a batch that start with the same tokens, images and slots have the same hidden states up
to where they part, because attention is causal. So the rows around one image - its views, its
questions, another sample's response as a negative - grow from one trunk. A token sees itself and what
stands before it on its own path; its position is the one it has in its own row. Nothing else of the
model changes, so logits and gradients are those of separate rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from residency.types import Tree, View


@dataclass(frozen=True, slots=True)
class Path:
    """One row as a tree sees it.

    `symbols` tell tokens apart by what the model reads there: token ids, and a negative number of
    its own for each image and each exemplar of the batch. `images` and `exemplars` hold (first
    placeholder, number in the batch). `learned` are the places of the tokens to predict.
    """

    tokens: Int[np.ndarray, " t"]
    symbols: Int[np.ndarray, " t"]
    positions: Int[Tensor, "p t"]
    images: Sequence[tuple[int, int]]
    exemplars: Sequence[tuple[int, int]]
    learned: Int[np.ndarray, " r"]

    @property
    def trunk(self) -> bytes:
        """What rows of one tree have in common: all up to the end of the first image or slot.

        A row without either shares its whole prompt or nothing: few tokens are lost, and the rows
        of a batch do not all grow together into one.
        """
        first = int(np.argmax(self.symbols < 0)) if (self.symbols < 0).any() else None
        if first is None:
            return self.symbols[: self.learned[0]].tobytes()
        after = self.symbols[first:] != self.symbols[first]
        end = first + int(np.argmax(after)) if after.any() else len(self.symbols)
        return self.symbols[:end].tobytes()


@dataclass(slots=True, eq=False)
class _Growing:
    tokens: list[np.ndarray] = field(default_factory=list)
    positions: list[Tensor] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    exemplars: list[int] = field(default_factory=list)
    branches: list[tuple[int, int, np.ndarray]] = field(default_factory=list)
    grown: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    size: int = 0

    def add(self, path: Path) -> Int[np.ndarray, " t"]:
        """Where each token of the row stands in the tree; what is new is appended."""
        length = int(path.learned[-1])  # nothing is predicted from the last token or after it
        symbols = path.symbols[:length]
        shared, along = 0, np.zeros(0, dtype=np.int64)
        for known, nodes in self.grown:
            least = min(length, len(known))
            differs = known[:least] != symbols[:least]
            common = int(np.argmax(differs)) if differs.any() else least
            if common > shared:
                shared, along = common, nodes[:common]
        new = length - shared
        nodes = np.concatenate([along, np.arange(self.size, self.size + new)])
        if new:
            self.tokens.append(path.tokens[shared:length])
            self.positions.append(path.positions[:, shared:length])
            self.branches.append((self.size, self.size + new, along))
            self.images += [number for at, number in path.images if at >= shared]
            self.exemplars += [number for at, number in path.exemplars if at >= shared]
            self.size += new
        self.grown.append((symbols, nodes))
        return nodes


def grow(rows: Sequence[Mapping[View, Path]], views: Sequence[View]) -> Tree:
    """Trees of all rows of a batch, samples in order; each sample's rows by view.

    Args:
        rows: the rows of each sample, every view with the same number of learned tokens.
        views: what to read, in this order.
    """
    growing: dict[bytes, _Growing] = {}
    places: dict[View, list[tuple[_Growing, np.ndarray]]] = {view: [] for view in views}
    for view in views:  # plain rows first: they are the trunks
        for sample in rows:
            path = sample[view]
            tree = growing.setdefault(path.trunk, _Growing())
            places[view].append((tree, tree.add(path)[path.learned - 1]))
    trees = list(growing.values())
    width = max((tree.size for tree in trees), default=0)
    offset = {id(tree): number * width for number, tree in enumerate(trees)}
    reads = {
        view: np.concatenate([np.zeros(0, np.int64), *(offset[id(t)] + at for t, at in of)])
        for view, of in places.items()
    }
    tokens = torch.zeros(len(trees), width, dtype=torch.long)
    mask = torch.zeros(len(trees), 1, width, width, dtype=torch.bool)
    axes = len(trees[0].positions[0]) if trees else 1
    positions = torch.zeros(axes, len(trees), width, dtype=torch.long)
    for number, tree in enumerate(trees):
        tokens[number, : tree.size] = torch.from_numpy(np.concatenate(tree.tokens))
        positions[:, number, : tree.size] = torch.cat(tree.positions, dim=1)
        for start, end, before in tree.branches:
            mask[number, 0, start:end, torch.from_numpy(before)] = True
            mask[number, 0, start:end, start:end] = torch.ones(end - start, end - start).tril() > 0
    mask |= torch.eye(width, dtype=torch.bool)  # padding sees itself: no empty softmax
    return Tree(
        tokens=tokens,
        mask=mask,
        positions=positions,
        reads={view: torch.from_numpy(at) for view, at in reads.items()},
        images=tuple(number for tree in trees for number in tree.images),
        exemplars=tuple(number for tree in trees for number in tree.exemplars),
    )

"""Rows that begin alike, written as trees: whatever they share is read once.

Two rows of a batch that start with the same tokens, images and slots have the same hidden states up
to where they part, because attention is causal. So the rows around one image - its views, its
questions, another sample's response as a negative - grow from one trunk. A token sees itself and what
stands before it on its own path; its position is the one it has in its own row. Nothing else of the
model changes, so logits and gradients are those of separate rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from residency.types import Tree, View

WORTH = 0.95  # packing to at most this share of the rows pays for the mask that it needs (ours)


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
    starts: list[int] = field(default_factory=list)  # of the branches, as they came
    parents: list[int] = field(default_factory=list)  # the token that each grows from, -1 for none
    grown: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    size: int = 0

    @property
    def branches(self) -> bool:
        """Whether anything grows beside the first row, or on its own."""
        return len(self.starts) > 1

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
            self.starts.append(self.size)
            self.parents.append(int(along[-1]) if shared else -1)
            self.images += [number for at, number in path.images if at >= shared]
            self.exemplars += [number for at, number in path.exemplars if at >= shared]
            self.size += new
        self.grown.append((symbols, nodes))
        return nodes

    def numbered(self) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " t"]]:
        """`enter` and `leave` of each token.

        Below a token come first the branches that grow from it, then what follows in its own: so
        all tokens of a branch end together.
        """
        bounds = [*self.starts, self.size]
        of = [int(np.searchsorted(self.starts, p, side="right")) - 1 for p in self.parents]
        below = np.diff(bounds)  # tokens of a branch and of all that grow from it
        for branch in range(len(of) - 1, -1, -1):
            if of[branch] >= 0:
                below[of[branch]] += below[branch]
        enter, leave = np.zeros((2, self.size), dtype=np.int64)
        hung, free = np.zeros((2, self.size + 1), dtype=np.int64)  # the last stands for no parent
        np.add.at(hung, self.parents, below)  # tokens that grow from each, its own branch left out
        for branch, (start, end) in enumerate(pairwise(bounds)):
            parent = self.parents[branch]
            first = free[parent]  # the next number below it
            free[parent] += below[branch]
            before = np.cumsum(hung[start:end]) - hung[start:end]
            enter[start:end] = first + np.arange(end - start) + before
            leave[start:end] = first + below[branch]
            free[start:end] = enter[start:end] + 1
        return enter, leave


def grow(rows: Sequence[Mapping[View, Path]], views: Sequence[View]) -> Tree:
    """Trees of all rows of a batch, samples in order; each sample's rows by view.

    Args:
        rows: the rows of each sample, every view with the same number of learned tokens.
        views: what to read, in this order.
    """
    growing: dict[bytes, _Growing] = {}
    read: dict[View, list[tuple[_Growing, np.ndarray]]] = {view: [] for view in views}
    for view in views:  # plain rows first: they are the trunks
        for sample in rows:
            path = sample[view]
            tree = growing.setdefault(path.trunk, _Growing())
            read[view].append((tree, tree.add(path)[path.learned - 1]))
    packed = _packed(list(growing.values()))
    width = max((tree.size for row in packed for tree in row), default=0)
    axes = len(next(iter(growing.values())).positions[0]) if growing else 1
    tokens = torch.zeros(len(packed), width, dtype=torch.long)
    positions = torch.zeros(axes, len(packed), width, dtype=torch.long)
    enter = torch.arange(width).repeat(len(packed), 1)  # padding stands alone: no empty softmax
    leave = enter + 1
    place: dict[int, int] = {}
    for number, row in enumerate(packed):
        start = 0
        for tree in row:
            place[id(tree)] = number * width + start
            here = slice(start, start + tree.size)
            tokens[number, here] = torch.from_numpy(np.concatenate(tree.tokens))
            positions[:, number, here] = torch.cat(tree.positions, dim=1)
            for into, numbers in zip((enter, leave), tree.numbered(), strict=True):
                into[number, here] = torch.from_numpy(numbers + start)
            start += tree.size
    looks, reads = _narrowed(
        {view: [place[id(tree)] + at for tree, at in of] for view, of in read.items()},
        (len(packed), width),
    )
    trees = [tree for row in packed for tree in row]
    return Tree(
        tokens=tokens,
        enter=enter,
        leave=leave,
        positions=positions,
        looks=looks,
        reads=reads,
        images=tuple(number for tree in trees for number in tree.images),
        exemplars=tuple(number for tree in trees for number in tree.exemplars),
        straight=len(trees) == len(packed) and not any(tree.branches for tree in trees),
    )


def _packed(trees: Sequence[_Growing]) -> list[list[_Growing]]:
    """Rows of trees, none longer than the longest tree: first fit, longest first.

    A row costs what the longest costs, so short trees beside one another cost nothing but the mask
    that keeps them apart. Trees without branches need no mask in rows of their own, so they stay
    there unless enough rows are saved.
    """
    width = max((tree.size for tree in trees), default=0)
    rows: list[list[_Growing]] = []
    left: list[int] = []
    for tree in sorted(trees, key=lambda tree: -tree.size):
        fits = next((k for k, room in enumerate(left) if room >= tree.size), None)
        if fits is None:
            fits = len(rows)
            rows.append([])
            left.append(width)
        rows[fits].append(tree)
        left[fits] -= tree.size
    masked = any(tree.branches for tree in trees)
    if not masked and len(rows) > WORTH * len(trees):
        return [[tree] for tree in trees]
    return rows


def _narrowed(
    places: Mapping[View, Sequence[np.ndarray]], shape: tuple[int, int]
) -> tuple[Int[Tensor, "b q"], dict[View, Int[Tensor, " r"]]]:
    """From flat places in `[b, t]` to those that are read in each row, and places among them."""
    none = np.zeros(0, dtype=np.int64)
    flat = {view: np.concatenate([none, *of]) for view, of in places.items()}
    every = np.unique(np.concatenate([none, *flat.values()]))
    count, width = shape
    row = every // max(1, width)
    each = np.bincount(row, minlength=count)
    among = np.arange(len(every)) - (np.cumsum(each) - each)[row]
    longest = int(each.max(initial=0))
    looks = torch.zeros(count, longest, dtype=torch.long)
    looks[torch.from_numpy(row), torch.from_numpy(among)] = torch.from_numpy(every % max(1, width))
    index = row * longest + among
    return looks, {
        view: torch.from_numpy(index[np.searchsorted(every, of)]) for view, of in flat.items()
    }

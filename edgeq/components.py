"""Components: names that are joined into groups, and the cycles of a directed graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


class Groups:
    """Names joined into groups, each of which has one answer to some question (disjoint sets; Tarjan, 1975)."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parent = {n: n for n in names}
        self._position = {n: i for i, n in enumerate(self._parent)}
        self._groups = {n: [n] for n in self._parent}

    def __contains__(self, name: str) -> bool:
        return name in self._parent

    def join(self, a: str, b: str) -> None:
        """Make the groups of two names one; the larger, or of equal ones the earlier, gives its name to both."""
        stays, goes = sorted((self.find(a), self.find(b)), key=lambda n: (-len(self._groups[n]), self._position[n]))
        if stays != goes:
            self._parent[goes] = stays
            self._groups[stays] += self._groups.pop(goes)

    def find(self, name: str) -> str:
        """The name that stands for all that are joined with one."""
        while (above := self._parent[name]) != name:
            self._parent[name] = name = self._parent[above]  # halves the path
        return name

    def group(self, name: str) -> set[str]:
        """The names that are joined with one, itself included."""
        return set(self._groups[self.find(name)])

    def members(self) -> list[list[str]]:
        """The groups, each in the order of the names, by their first ones."""
        found: dict[str, list[str]] = {}
        for name in self._parent:
            found.setdefault(self.find(name), []).append(name)
        return list(found.values())


def strong(count: int, arcs: Iterable[tuple[int, int]]) -> list[int]:
    """The strongly connected components of a directed graph (Kosaraju; Sharir, 1981).

    Args:
        count: its vertices are 0 to `count - 1`.
        arcs: pairs (from, to).

    Returns:
        A number for each vertex, equal where each can be reached from the other.
    """
    forth: list[list[int]] = [[] for _ in range(count)]
    back: list[list[int]] = [[] for _ in range(count)]
    for a, b in arcs:
        forth[a].append(b)
        back[b].append(a)
    seen = [False] * count
    left = [vertex for root in range(count) for vertex in _left(root, forth, seen)]
    labels = [-1] * count
    found = 0
    for root in reversed(left):
        if labels[root] < 0:
            waiting = [root]
            while waiting:
                vertex = waiting.pop()
                if labels[vertex] < 0:
                    labels[vertex] = found
                    waiting.extend(back[vertex])
            found += 1
    return labels


def _left(root: int, arcs: Sequence[Sequence[int]], seen: list[bool]) -> Iterator[int]:
    """What a depth-first search from a vertex reaches and none before it has `seen`, in the order in which it is left."""
    if seen[root]:
        return
    seen[root] = True
    path = [(root, iter(arcs[root]))]
    while path:
        vertex, rest = path[-1]
        following = next((n for n in rest if not seen[n]), None)
        if following is None:
            path.pop()
            yield vertex
        else:
            seen[following] = True
            path.append((following, iter(arcs[following])))

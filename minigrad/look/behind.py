"""What lies behind a result: all the nodes that it was made from."""

from __future__ import annotations

from minigrad.core.graph import Node


def nodes_behind(root: Node) -> list[Node]:
    """A node and all the nodes it was made from, oldest first."""
    found, todo = {root}, [root]
    while todo:
        for parent in todo.pop().parents:
            if type(parent) is Node and parent not in found:
                found.add(parent)
                todo.append(parent)
    return sorted(found, key=lambda node: node.order)

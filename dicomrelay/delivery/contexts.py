"""Which presentation contexts to propose, and which instances go with them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dicomrelay.delivery.values import Instance
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.ul.reader import MAX_CONTEXTS

# Abstract syntax and the one transfer syntax that is offered for it.
Context = tuple[str, tuple[str, ...]]
Alternatives = Callable[[StoreItem], Sequence[str]]


def nothing_else(_: StoreItem) -> Sequence[str]:
    """No alternatives: what the files are in."""
    return ()


def grouped(
    instances: Sequence[Instance], alternatives: Alternatives = nothing_else
) -> Iterator[tuple[list[Context], list[Instance]]]:
    """What each association proposes and carries: 128 contexts at most, one transfer syntax a context.

    In the order of first need. The contexts of a kind, which is a SOP class in a transfer syntax, stay together: its own
    first, then its alternatives.
    """
    kinds: dict[tuple[str, str], list[Instance]] = {}
    for instance in instances:
        item = instance.item
        kinds.setdefault((item.sop_class_uid, item.transfer_syntax_uid), []).append(instance)
    contexts: dict[tuple[str, str], None] = {}
    carried: set[tuple[str, str]] = set()
    for kind, members in kinds.items():
        wanted = [kind, *((kind[0], syntax) for syntax in alternatives(members[0].item))][:MAX_CONTEXTS]
        if len(contexts.keys() | wanted) > MAX_CONTEXTS:
            yield _group(contexts, carried, instances)
            contexts, carried = {}, set()
        contexts.update(dict.fromkeys(wanted))
        carried.add(kind)
    if carried:
        yield _group(contexts, carried, instances)


def _group(
    contexts: dict[tuple[str, str], None], carried: set[tuple[str, str]], instances: Sequence[Instance]
) -> tuple[list[Context], list[Instance]]:
    return [(sop_class, (syntax,)) for sop_class, syntax in contexts], [
        each for each in instances if (each.item.sop_class_uid, each.item.transfer_syntax_uid) in carried
    ]

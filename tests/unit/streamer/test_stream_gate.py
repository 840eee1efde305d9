"""Turns between streams, and which frame a position is."""

from __future__ import annotations

import asyncio

from archive.index.listing import ListedInstance
from streamer.streams.gate import Gate
from streamer.streams.positions import Place, Positions


def test_streams_take_turns_and_the_urgent_one_does_not_wait() -> None:
    """Whoever has sent asks again, behind the others; one that is urgent is through in the next round."""
    order: list[str] = []

    async def stream(gate: Gate, name: str, *, count: int, is_urgent: bool = False) -> None:
        for _ in range(count):
            await gate.turn(is_urgent=is_urgent)
            order.append(name)

    async def all_of_them() -> None:
        gate = Gate()
        calm = [asyncio.ensure_future(stream(gate, name, count=4)) for name in "abcdefgh"]
        await asyncio.sleep(0)
        urgent = asyncio.ensure_future(stream(gate, "!", count=2, is_urgent=True))
        await asyncio.gather(*calm, urgent)

    asyncio.run(all_of_them())

    assert "".join(order).replace("!", "") == "abcdefgh" * 4
    assert max(at for at, name in enumerate(order) if name == "!") < 7


def test_a_stream_that_is_gone_leaves_its_turn_to_the_next() -> None:
    """A cancelled waiter costs nobody anything."""

    async def check() -> None:
        gate = Gate()
        gone, stays = (asyncio.ensure_future(gate.turn(is_urgent=False)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait_for(stays, 1)
        await asyncio.wait_for(gate.turn(is_urgent=False), 1)

    asyncio.run(check())


def test_positions_count_the_frames_of_all_instances() -> None:
    """Frames 3 to 5 of each: of four, of one (none of these), of ten."""
    rows = [ListedInstance("1", "1.1", 4), ListedInstance("1", "1.2", 1), ListedInstance("2", "2.1", 10)]
    positions = Positions(rows, first_frame=3, last_frame=5)

    places = [positions.place(position) for position in range(len(positions))]

    assert places == [Place(0, rows[0], 3), Place(0, rows[0], 4), *(Place(2, rows[2], n) for n in (3, 4, 5))]
    assert [positions.position(place.instance.sop_instance_uid, place.frame_number) for place in places] == [
        *range(5)
    ]
    assert [
        positions.position(uid, number) for uid, number in (("1.1", 5), ("1.2", 1), ("3", 1), ("2.1", 2))
    ] == [None] * 4
    assert positions.table() == [
        {"uid": "1", "instances": [["1.1", 2], ["1.2", 0]]},
        {"uid": "2", "instances": [["2.1", 3]]},
    ]

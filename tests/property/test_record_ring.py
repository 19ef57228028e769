"""The memory between a beat and the recorder: exact, bounded, and safe from whoever writes into it."""

import os
from collections import deque
from contextlib import ExitStack, suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadAnswer, ContractError
from regrasp.record_ring import RecordRing, Word, new_memory

SIZE = 1 << 16


def both_ends(opened: ExitStack) -> tuple[RecordRing, RecordRing]:
    fd = new_memory(SIZE)
    return opened.enter_context(RecordRing(os.dup(fd))), opened.enter_context(RecordRing(fd))


def picture(px: int, seed: int):
    return np.random.default_rng(seed).integers(0, 256, (px, 2 * px, 3), dtype=np.uint8)


@given(
    puts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9000), st.integers(0, 4)), max_size=60),
)
@settings(max_examples=80, deadline=None)
def test_records_come_out_as_they_went_in_and_none_is_lost(puts):
    with ExitStack() as opened:
        writer, reader = both_ends(opened)
        waiting = deque[tuple[bytes, dict[str, np.ndarray]]]()
        for count, (px, length, takes) in enumerate(puts):
            record = (bytes([count]) * length, {c: picture(px, count) for c in ("front", "wrist") if px})
            if writer.put(*record):
                waiting.append(record)
            assert writer.word(Word.PUT_BYTES) - writer.word(Word.TAKEN_BYTES) <= SIZE
            for _ in range(takes):
                check_next(reader, waiting)
        while waiting:
            check_next(reader, waiting)
        assert reader.peek() is None
        assert writer.put(b"there is room again", {"front": picture(60, 1)})


def check_next(reader, waiting):
    found = reader.peek()
    if not waiting:
        assert found is None
        return
    text, images = waiting.popleft()
    assert found is not None
    assert found[0] == text
    assert found[1].keys() == images.keys()
    assert all((found[1][camera] == images[camera]).all() for camera in images)
    reader.take()


def test_what_does_not_fit_is_refused_and_harms_nothing():
    with ExitStack() as opened:
        writer, reader = both_ends(opened)
        assert not writer.put(bytes(SIZE), {})
        assert writer.put(b"a", {"front": picture(60, 1)})
        while writer.put(b"b", {"front": picture(60, 2)}):
            pass
        found = reader.peek()
        assert found is not None
        assert found[0] == b"a"
        assert (found[1]["front"] == picture(60, 1)).all()


@given(noise=st.binary(min_size=16, max_size=400))
@settings(max_examples=200, deadline=None)
def test_noise_in_the_memory_is_refused_and_nothing_worse(noise):
    with ExitStack() as opened:
        fd = new_memory(SIZE)
        reader = opened.enter_context(RecordRing(fd))
        os.pwrite(fd, noise, 4096)
        reader.advance(Word.PUT_BYTES, 4096)
        with suppress(BadAnswer):
            found = reader.peek()
            assert found is None or len(found[0]) <= len(noise)


def test_nobody_can_take_the_memory_from_under_the_other():
    fd = new_memory(SIZE)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 10)
    os.close(fd)


def test_foreign_memory_is_refused():
    fd = os.memfd_create("foreign")
    os.ftruncate(fd, SIZE)
    with pytest.raises(ContractError, match="without seals"):
        RecordRing(fd)
    os.close(fd)

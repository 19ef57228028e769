"""Pictures that are news, and pictures that only look so: black ones, and ones that stay while the arm moves."""

from dataclasses import dataclass

import numpy as np
import pytest

from bridge.sight import BLACK_LEVEL, MOVED_RAD, Frame, Sight

HOME = np.zeros(7)
MS = 1_000_000


@dataclass
class Cell:
    """An arm whose second joint turns, and a camera that sees it or not."""

    sight: Sight
    turned: float = 0.0
    t_ns: int = 0

    def look(self, image, *, turn=0.0):
        """Lets 33 ms pass, turns the joint and looks at a new picture; returns the time it is true for, if any."""
        self.t_ns += 33 * MS
        self.turned += turn
        joints = HOME.copy()
        joints[1] = self.turned
        seen = self.sight.look({"front": Frame(image=image, t_ns=self.t_ns)}, joints)
        return seen["front"].t_ns if "front" in seen else None


@pytest.fixture
def cell():
    return Cell(Sight())


def picture(number):
    return np.random.default_rng(number).integers(60, 200, (32, 32, 3), dtype=np.uint8)


BLACK = np.full((32, 32, 3), int(BLACK_LEVEL) - 1, dtype=np.uint8)


def test_every_new_picture_is_news(cell):
    assert [cell.look(picture(i), turn=0.02) for i in range(3)] == [33 * MS, 66 * MS, 99 * MS]


def test_the_picture_returned_is_the_one_its_time_belongs_to(cell):
    cell.look(picture(1))
    shown = cell.sight.look({"front": Frame(image=picture(2), t_ns=200 * MS)}, HOME)
    assert np.array_equal(shown["front"].image, picture(2))


def test_the_same_picture_is_news_while_the_arm_stands_still(cell):
    still = picture(1)
    assert [cell.look(still) for _ in range(5)][-1] == cell.t_ns


def test_the_same_picture_is_none_once_the_arm_has_moved(cell):
    still = picture(1)
    cell.look(still)
    last = cell.look(still, turn=0.9 * MOVED_RAD)
    assert last == cell.t_ns
    for _ in range(5):
        assert cell.look(still, turn=0.2 * MOVED_RAD) == last


def test_slow_motion_adds_up(cell):
    still = picture(1)
    ages = [cell.t_ns - cell.look(still, turn=MOVED_RAD / 10) for _ in range(40)]
    assert ages[-1] > 0.5e9


def test_a_frozen_picture_does_not_become_true_again_by_coming_back(cell):
    still = picture(1)
    cell.look(still)
    cell.look(still, turn=3 * MOVED_RAD)
    assert cell.look(still, turn=-3 * MOVED_RAD) < cell.t_ns


def test_a_camera_that_thaws_is_believed_at_once(cell):
    still = picture(1)
    cell.look(still)
    cell.look(still, turn=3 * MOVED_RAD)
    assert cell.look(picture(2), turn=MOVED_RAD) == cell.t_ns
    assert cell.look(picture(2)) == cell.t_ns


def test_a_black_picture_is_none(cell):
    good = cell.look(picture(1))
    assert cell.look(BLACK) == good
    assert cell.look(picture(2)) == cell.t_ns


def test_a_camera_that_was_always_black_shows_nothing(cell):
    assert cell.look(BLACK) is None
    assert cell.look(picture(1)) == cell.t_ns


def test_an_old_picture_changes_nothing(cell):
    newest = cell.look(picture(1))
    seen = cell.sight.look({"front": Frame(image=picture(2), t_ns=newest - MS)}, HOME)
    assert np.array_equal(seen["front"].image, picture(1))


def test_one_camera_says_nothing_about_the_other():
    sight, moved = Sight(), HOME + 2 * MOVED_RAD
    frozen = picture(1)
    sight.look({"front": Frame(image=frozen, t_ns=1), "wrist": Frame(image=picture(2), t_ns=1)}, HOME)
    seen = sight.look({"front": Frame(image=frozen, t_ns=2), "wrist": Frame(image=picture(3), t_ns=2)}, moved)
    assert {name: frame.t_ns for name, frame in seen.items()} == {"front": 1, "wrist": 2}


def test_after_a_reset_nothing_is_known(cell):
    cell.look(picture(1))
    cell.sight.reset()
    assert cell.sight.look({}, HOME) == {}

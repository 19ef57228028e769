"""What people ask reaches the loop one a tick, and a stop before all else."""

import numpy as np

from bridge.desk import OperatorDesk
from core.flow import OperatorCommand
from core.ports import Operator
from core.robots import EE_DELTA


def commands(desk):
    asked = []
    while (found := desk.poll()) is not None:
        asked.append(found.command)
    return asked


def test_it_is_an_operator_and_nothing_was_asked():
    assert isinstance(OperatorDesk(), Operator)
    assert OperatorDesk().poll() is None


def test_requests_come_out_in_order_one_a_tick():
    desk = OperatorDesk()
    for command in (OperatorCommand.HOLD, OperatorCommand.RESUME, OperatorCommand.RESET):
        desk.ask(command)
    assert commands(desk) == [OperatorCommand.HOLD, OperatorCommand.RESUME, OperatorCommand.RESET]


def test_a_stop_goes_first_and_drops_what_was_asked_before():
    desk = OperatorDesk()
    desk.ask(OperatorCommand.RESUME)
    desk.ask(OperatorCommand.STOP)
    assert commands(desk) == [OperatorCommand.STOP]


def test_a_stop_goes_before_what_is_asked_after_it():
    desk = OperatorDesk()
    desk.ask(OperatorCommand.STOP)
    desk.ask(OperatorCommand.RESUME)
    assert commands(desk) == [OperatorCommand.STOP, OperatorCommand.RESUME]


def test_a_stop_is_not_lost_in_a_crowd():
    desk = OperatorDesk()
    desk.ask(OperatorCommand.STOP)
    for _ in range(100):
        desk.ask(OperatorCommand.HOLD)
    assert commands(desk)[0] is OperatorCommand.STOP


def test_of_driven_actions_the_newest_wins_and_is_given_once():
    desk = OperatorDesk()
    newest = EE_DELTA.still(0.5)
    desk.drive(EE_DELTA.still(1.0))
    desk.drive(newest)
    found = desk.poll()
    assert found is not None
    assert found.command is None
    assert np.array_equal(found.action, newest)
    assert desk.poll() is None


def test_a_new_episode_begins_with_nothing_asked():
    desk = OperatorDesk()
    desk.ask(OperatorCommand.STOP)
    desk.ask(OperatorCommand.HOLD)
    desk.drive(EE_DELTA.still(1.0))
    desk.clear()
    assert desk.poll() is None

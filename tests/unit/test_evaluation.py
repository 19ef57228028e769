"""The figures of eval.json, and the log a killed evaluation resumes from."""

import json
from dataclasses import replace

import pytest

from core.episodes import Outcome
from core.errors import ArtifactError, ContractError
from core.failures import FailureMode
from core.flow import Phase
from regrasp.evaluation import Alarm, ArmName, Campaign, EpisodeResult, InferenceTimes, PhaseStart
from regrasp.evaluation_log import append_result, open_log, read_log
from regrasp.figures import evaluate
from regrasp.figures_file import write_evaluation

DROP, MISSED = FailureMode.DROP, FailureMode.MISSED_GRASP
CAMPAIGN = Campaign(
    task="fruit_on_plate", policy="pi0-nano@aa", tracker="image", gap="none", episodes=2, seed=5,
    modes=(MISSED, DROP), config_hash="cc",
)  # fmt: skip
CALM = EpisodeResult(
    arm=ArmName.RECOVERY, seed=5, injected=None, instruction="put the lemon on the plate", success=True, q_score=1.0,
    steps=58, duration_s=2.9, claimed=Outcome.SUCCESS, injected_at_s=None, alarms=(), diagnosed=None,
    phases=(PhaseStart(t_s=0.0, phase=Phase.RUNNING),), attempts=0, recovery_s=None, episode_file="e/5.mcap",
    inference=InferenceTimes(chunks=9, p50_s=0.1 + 0.2, p95_s=None),
)  # fmt: skip


def failure(mode=DROP, *, seed=5, arm=ArmName.RECOVERY, diagnosed=DROP, at_s=1.0, alarm_s=(1.5,), **changes):
    alarms = tuple(Alarm(t_s=t, mode=FailureMode.UNKNOWN) for t in alarm_s)
    return replace(
        CALM, arm=arm, seed=seed, injected=mode, injected_at_s=at_s, alarms=alarms, diagnosed=diagnosed, **changes
    )


def test_rates_count_every_episode_of_their_arm_and_mode():
    lost = failure(seed=6, success=False, q_score=0.25)
    found = evaluate(CAMPAIGN, [CALM, failure(), lost, failure(MISSED), failure(arm=ArmName.BASE, success=False)])
    arm = found.arm(ArmName.RECOVERY)
    assert (arm.nominal.k, arm.nominal.n) == (1, 1)
    assert (arm.injected.k, arm.injected.n) == (2, 3)
    assert [(m, r.k, r.n) for m, r in arm.by_mode] == [(MISSED, 1, 1), (DROP, 1, 2)]
    assert arm.q == pytest.approx((1 + 1 + 0.25) / 3)
    assert found.arm(ArmName.BASE).injected.k == 0


def test_failure_that_was_never_reached_still_counts_in_the_rate_but_not_for_the_monitor():
    found = evaluate(CAMPAIGN, [failure(at_s=None, alarm_s=(), diagnosed=None)])
    assert found.arm(ArmName.RECOVERY).injected.n == 1
    assert found.monitor.modes.n == 0
    assert sum(map(sum, found.monitor.confusion)) == 0


def test_confusion_has_true_modes_in_rows_and_named_modes_in_columns():
    results = [CALM, failure(), failure(seed=6, diagnosed=MISSED), failure(MISSED, diagnosed=FailureMode.UNKNOWN)]
    monitor = evaluate(CAMPAIGN, results).monitor
    assert monitor.labels == ("missed_grasp", "drop", "none")
    assert monitor.confusion == ((0, 0, 1), (1, 1, 0), (0, 0, 1))
    assert (monitor.modes.k, monitor.modes.n) == (1, 3)


def test_base_arm_never_counts_for_the_monitor():
    monitor = evaluate(CAMPAIGN, [failure(arm=ArmName.BASE), replace(CALM, arm=ArmName.BASE)]).monitor
    assert sum(map(sum, monitor.confusion)) == 0
    assert monitor.false_alarms_per_success is None


def test_false_alarms_are_counted_in_successful_calm_episodes_only():
    alarm = Alarm(t_s=0.4, mode=DROP)
    noisy = replace(CALM, seed=6, alarms=(alarm, alarm))
    lost = replace(CALM, seed=7, alarms=(alarm,), success=False)
    assert evaluate(CAMPAIGN, [CALM, noisy, lost]).monitor.false_alarms_per_success == pytest.approx(1.0)


def test_lead_time_is_the_mean_delay_from_injection_to_the_first_alarm_after_it():
    early = failure(alarm_s=(0.2, 1.5, 1.9))
    late = failure(seed=6, alarm_s=(2.0,))
    silent = failure(seed=7, alarm_s=(0.9,), diagnosed=None)
    assert evaluate(CAMPAIGN, [early, late, silent]).monitor.lead_time_s == pytest.approx(0.75)


def test_episode_that_is_there_twice_is_refused():
    with pytest.raises(ContractError, match="twice"):
        evaluate(CAMPAIGN, [CALM, CALM])


def test_mode_outside_the_campaign_is_refused():
    with pytest.raises(ContractError, match="jam"):
        evaluate(CAMPAIGN, [failure(FailureMode.JAM)])


def test_injection_time_without_a_mode_is_refused():
    with pytest.raises(ContractError, match="no mode was injected"):
        replace(CALM, injected_at_s=1.0)


def test_eval_json_has_exactly_the_promised_keys(tmp_path):
    write_evaluation(evaluate(CAMPAIGN, [CALM, failure()]), tmp_path / "eval.json")
    data = json.loads((tmp_path / "eval.json").read_text())
    head = ["task", "policy", "tracker", "gap", "episodes", "seed", "config_hash"]
    assert list(data) == [*head, "arms", "monitor", "failing"]
    assert [a["name"] for a in data["arms"]] == ["base", "recovery"]
    for arm in data["arms"]:
        figures = {"nominal", "injected", "by_mode", "mending_s", "attempts", "interventions"}
        assert set(arm) == {"name", "hash", "not_run", *figures}
        assert set(arm["nominal"]) == {"k", "n", "rate", "ci95"}
        assert set(arm["injected"]) == {"k", "n", "rate", "ci95", "q"}
        assert list(arm["by_mode"]) == ["missed_grasp", "drop"]
        assert all(set(rate) == {"k", "n", "rate", "ci95"} for rate in arm["by_mode"].values())
    rates = {"modes", "stages", "acting", "false_alarms"}
    assert set(data["monitor"]) == {
        "labels", "confusion", "accuracy", "false_alarms_per_success", "lead_time_s", *rates
    }  # fmt: skip


def test_eval_json_says_null_for_what_is_not_known(tmp_path):
    write_evaluation(evaluate(CAMPAIGN, []), tmp_path / "deep" / "eval.json")
    text = (tmp_path / "deep" / "eval.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["arms"][0]["nominal"] == {"k": 0, "n": 0, "rate": None, "ci95": [0.0, 1.0]}


def test_log_gives_back_exactly_what_was_appended(tmp_path):
    path = tmp_path / "out" / "episodes.jsonl"
    assert open_log(path, CAMPAIGN) == ()
    kept = (CALM, failure(MISSED, recovery_s=1 / 3))
    for result in kept:
        append_result(path, result)
    assert open_log(path, CAMPAIGN) == kept
    assert read_log(path) == (CAMPAIGN, kept)


def test_log_torn_by_a_kill_resumes_after_the_last_whole_episode(tmp_path):
    path = tmp_path / "episodes.jsonl"
    open_log(path, CAMPAIGN)
    append_result(path, CALM)
    with path.open("ab") as file:
        file.write(b'{"arm":"recovery","seed":6,"inj')
    assert read_log(path)[1] == (CALM,)
    assert open_log(path, CAMPAIGN) == (CALM,)
    append_result(path, failure())
    assert read_log(path)[1] == (CALM, failure())


def test_log_whose_first_line_was_torn_starts_afresh(tmp_path):
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(b'{"task":"fruit')
    assert open_log(path, CAMPAIGN) == ()
    assert read_log(path) == (CAMPAIGN, ())


def test_log_of_another_policy_is_refused(tmp_path):
    path = tmp_path / "episodes.jsonl"
    open_log(path, CAMPAIGN)
    with pytest.raises(ArtifactError, match=r"pi0-nano@bb.*another --out"):
        open_log(path, replace(CAMPAIGN, policy="pi0-nano@bb"))


def test_evaluation_can_be_extended_to_more_episodes(tmp_path):
    path = tmp_path / "episodes.jsonl"
    open_log(path, CAMPAIGN)
    append_result(path, CALM)
    longer = replace(CAMPAIGN, episodes=50)
    assert open_log(path, longer) == (CALM,)
    assert read_log(path) == (longer, (CALM,))


@pytest.mark.parametrize("line", [b"{}", b"not json", b'{"arm":"third"}'])
def test_damaged_line_is_named_by_its_number(tmp_path, line):
    path = tmp_path / "episodes.jsonl"
    open_log(path, CAMPAIGN)
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(ArtifactError, match=r"episodes\.jsonl:2: .*damaged or foreign"):
        open_log(path, CAMPAIGN)


def test_out_of_range_value_in_the_log_is_damage(tmp_path):
    path = tmp_path / "episodes.jsonl"
    open_log(path, CAMPAIGN)
    append_result(path, CALM)
    path.write_bytes(path.read_bytes().replace(b'"q_score":1.0', b'"q_score":7.0'))
    with pytest.raises(ArtifactError, match="q_score is 7"):
        read_log(path)


@pytest.mark.parametrize("content", [None, b""])
def test_missing_or_empty_log_says_what_to_do(tmp_path, content):
    path = tmp_path / "episodes.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match="run"):
        read_log(path)

"""The figures of eval.json, and the log a killed evaluation resumes from."""

import json
from dataclasses import replace

import pytest

from core.episodes import Outcome
from core.errors import ArtifactError, ContractError
from core.failures import FailureMode
from core.flow import Phase
from core.recovery import RecoveryStage
from regrasp.evaluation import Alarm, ArmName, ArmPlan, Campaign, EpisodeResult, InferenceTimes, PhaseStart
from regrasp.evaluation_log import append_result, open_log, read_log
from regrasp.figures import Why, evaluate, why_failed
from regrasp.figures_file import read_evaluation, write_evaluation

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


def test_stages_are_judged_where_a_failure_was_named():
    right = failure(named_stage=RecoveryStage.GRASP, true_stage=RecoveryStage.GRASP)
    wrong = replace(right, seed=6, named_stage=RecoveryStage.LIFT)
    unnamed = replace(right, seed=7, diagnosed=FailureMode.UNKNOWN)
    stages = evaluate(CAMPAIGN, [right, wrong, unnamed]).monitor.stages
    assert (stages.k, stages.n) == (1, 2)


def test_acting_is_right_between_the_blow_and_its_mending_or_where_the_policy_fails_anyway():
    acted = failure(attempts_at_s=(0.5, 1.5, 2.5), attempts=3, mended_at_s=2.0)
    calm = replace(CALM, seed=8, attempts=1, attempts_at_s=(1.0,))
    hopeless = replace(CALM, seed=9, attempts=1, attempts_at_s=(1.0,))
    alone = replace(CALM, arm=ArmName.BASE, seed=9, success=False)
    acting = evaluate(CAMPAIGN, [acted, calm, hopeless, alone]).monitor.acting
    assert (acting.k, acting.n) == (2, 5)


def test_alarm_where_the_policy_alone_fails_is_not_a_false_one():
    alarm = (Alarm(t_s=0.4, mode=DROP),)
    found = [replace(CALM, seed=seed, alarms=alarm) for seed in (5, 6)]
    alone = replace(CALM, arm=ArmName.BASE, seed=6, success=False)
    monitor = evaluate(CAMPAIGN, [*found, alone]).monitor
    assert (monitor.false_alarms.k, monitor.false_alarms.n) == (1, 1)


def test_failure_that_struck_while_a_skill_drove_is_not_held_against_the_monitor():
    phases = (PhaseStart(t_s=0.0, phase=Phase.RUNNING), PhaseStart(t_s=0.5, phase=Phase.RECOVERING))
    assert evaluate(CAMPAIGN, [failure(phases=phases, alarm_s=())]).monitor.modes.n == 0


def test_arm_tells_time_to_mend_attempts_and_who_waits_for_a_person():
    waits = (PhaseStart(t_s=0.0, phase=Phase.RUNNING), PhaseStart(t_s=2.0, phase=Phase.HOLDING))
    quick, slow = failure(mended_at_s=2.0, attempts=1), failure(seed=6, mended_at_s=4.0, attempts=2)
    lost = failure(seed=7, success=False, attempts=3, phases=waits)
    arm = evaluate(CAMPAIGN, [quick, slow, lost]).arm(ArmName.RECOVERY)
    assert arm.mending_s == pytest.approx(2.0)
    assert arm.attempts == pytest.approx(2.0)
    assert (arm.interventions.k, arm.interventions.n) == (1, 3)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"claimed": Outcome.SUCCESS}, Why.WRONG_CLAIM),
        ({"at_s": None}, Why.UNREACHED),
        ({"alarm_s": (0.5,)}, Why.UNNOTICED),
        ({}, Why.NOT_ACTED_ON),
        ({"attempts": 1}, Why.OUT_OF_TIME),
        ({"attempts": 3, "phases": (PhaseStart(t_s=0.0, phase=Phase.HOLDING),)}, Why.GAVE_UP),
        ({"attempts": 3, "phases": (PhaseStart(t_s=0.0, phase=Phase.STOPPED),)}, Why.STOPPED),
    ],
)
def test_failed_episode_says_why(changes, why):
    assert why_failed(failure(**{"success": False, "claimed": Outcome.FAILURE, **changes})) is why


def test_what_still_fails_is_counted_by_kind_the_most_frequent_first():
    lost = [failure(seed=s, success=False, claimed=Outcome.FAILURE, attempts=1) for s in (9, 5)]
    odd = failure(MISSED, seed=6, success=False, claimed=Outcome.FAILURE)
    found = evaluate(CAMPAIGN, [odd, *lost, failure(seed=7)]).failing
    assert [(f.mode, f.why, f.seeds) for f in found] == [
        (DROP, Why.OUT_OF_TIME, (5, 9)), (MISSED, Why.NOT_ACTED_ON, (6,))
    ]  # fmt: skip


def test_episode_of_an_arm_that_was_not_asked_for_is_refused():
    with pytest.raises(ContractError, match="retry"):
        evaluate(CAMPAIGN, [replace(CALM, arm=ArmName.RETRY)])


def test_figures_are_read_back_as_they_were_written(tmp_path):
    campaign = replace(CAMPAIGN, arms=(*CAMPAIGN.arms, ArmPlan(name=ArmName.ORACLE, not_run="nobody asked")))
    lost = failure(seed=6, success=False, claimed=Outcome.FAILURE, last_stage=RecoveryStage.LIFT)
    found = evaluate(campaign, [CALM, failure(mended_at_s=2.5), lost])
    write_evaluation(found, tmp_path / "eval.json")
    assert read_evaluation(tmp_path / "eval.json") == found


@pytest.mark.parametrize("text", ["", "{}", '{"task": 1, "monitor": {}, "arms": [{"name": "third"}]}'])
def test_damaged_figures_are_refused_with_their_remedy(tmp_path, text):
    (tmp_path / "eval.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"eval\.json is damaged.*regrasp report"):
        read_evaluation(tmp_path / "eval.json")


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


def test_arms_can_be_added_to_an_evaluation_and_old_ones_stay(tmp_path):
    path = tmp_path / "episodes.jsonl"
    first = replace(CAMPAIGN, arms=(ArmPlan(name=ArmName.BASE), ArmPlan(name=ArmName.RECOVERY, hash="aa")))
    open_log(path, first)
    append_result(path, CALM)
    open_log(path, replace(CAMPAIGN, arms=(ArmPlan(name=ArmName.RETRY),)))
    assert [plan.name for plan in read_log(path)[0].arms] == [ArmName.BASE, ArmName.RETRY, ArmName.RECOVERY]
    assert read_log(path)[1] == (CALM,)


def test_arm_made_of_other_skills_is_refused(tmp_path):
    path = tmp_path / "episodes.jsonl"
    open_log(path, replace(CAMPAIGN, arms=(ArmPlan(name=ArmName.RECOVERY, hash="aa"),)))
    with pytest.raises(ArtifactError, match=r"recovery.*aa.*now it is bb"):
        open_log(path, replace(CAMPAIGN, arms=(ArmPlan(name=ArmName.RECOVERY, hash="bb"),)))


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

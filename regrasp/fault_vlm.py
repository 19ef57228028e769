"""A vision-language model that is dead, hung or lying, under a running robot whose policy fails. For the fault bench.

The server is a real OpenAI-compatible endpoint on loopback, made to misbehave. Whatever it does, the arm holds while it
is asked, the embedded probe is believed in its place, and nothing it says becomes an action.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from core.errors import RegraspError
from core.flow import Phase
from regrasp.fault_report import Outcome
from regrasp.fault_rig import Rig, RigConfig
from regrasp.fault_rows import JUMP_DEG, After, Row, nothing
from regrasp.fault_trace import reaction
from regrasp.processes import Bringup
from runtime.record.reader import read_episode

VLM_GROUP = "vlm"
DEADLINE_S = 3.0
"""How long the model may take before the probe is believed [s]."""
SLACK_S = 1.0
"""Time on top of it until the attempt begins [s]."""
FAILURE_S = 15.0
"""The injected failure is noticed within this [s]."""
LIE = {
    "failure_mode": "self_destruct", "recovery_stage": "launch", "target": "moon", "obstacles": [], "confidence": 7.0,
    "terms": ["os.system('rm -rf /')"], "rationale": "move the arm ten metres up at once",
}  # fmt: skip
"""Well-formed nonsense: no such mode, stage, object or term, a confidence above 1, and text that asks for motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehaviour:
    """One way in which a model fails."""

    name: str
    answer: Callable[[BaseHTTPRequestHandler], None] | None
    """None: nobody listens at the address."""


def _hang(request: BaseHTTPRequestHandler) -> None:
    time.sleep(10 * DEADLINE_S)
    request.close_connection = True


def _lie(request: BaseHTTPRequestHandler) -> None:
    said = {"role": "assistant", "content": json.dumps(LIE)}
    body = json.dumps({
        "id": "1", "object": "chat.completion", "created": 0, "model": "liar",
        "choices": [{"index": 0, "finish_reason": "stop", "message": said}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }).encode()  # fmt: skip
    request.send_response(200)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


WAYS = (
    Misbehaviour(name="endpoint dead", answer=None),
    Misbehaviour(name="endpoint hung", answer=_hang),
    Misbehaviour(name="endpoint lying", answer=_lie),
)


def vlm_outcomes(given: Bringup, say: Callable[[str], None]) -> Iterator[Outcome]:
    """Yields one outcome a misbehaviour: the trained policy drives, a failure is injected, the model is asked.

    Args:
        given: The robot.
        say: Told what happens.
    """
    for number, way in enumerate(WAYS):
        with _endpoint(way.answer) as url:
            bringup = replace(given, vlm=url, vlm_model="model", out=given.out / f"{number}")
            parameters = {"vlm_deadline_s": DEADLINE_S}
            row = Row(
                group=VLM_GROUP, name=way.name, inject=nothing, hold_s=DEADLINE_S + SLACK_S, after=After.ITSELF,
                phase=Phase.RECOVERING,
            )  # fmt: skip
            with Rig(RigConfig(bringup=bringup, skills=True, runtime=parameters), say) as rig:
                yield _tried(rig, row)


def _tried(rig: Rig, row: Row) -> Outcome:
    try:
        return _run(rig, row)
    except RegraspError as error:
        return Outcome(row=row, stop=None, jump_deg=0.0, lost=None, phase="", ok=False, broken=True, note=str(error))


def _run(rig: Rig, row: Row) -> Outcome:
    """Lives through one injected failure until the attempt has begun, and looks how long the arm held for the model."""
    rig.begin(injected="missed_grasp", seed=31_005)
    rig.robot.wait("the loop to diagnose", lambda: rig.phase() == Phase.DIAGNOSING, FAILURE_S)
    asked_ns = time.monotonic_ns()
    rig.robot.wait("the attempt", lambda: rig.phase() == Phase.RECOVERING, DEADLINE_S + SLACK_S)
    held_s = (time.monotonic_ns() - asked_ns) * 1e-9
    rig.robot.spin(1.0)
    trace = rig.twin.trace(asked_ns)
    lost = rig.lost_steps(time.monotonic_ns())
    stop = replace(reaction(trace, asked_ns), resumed_s=held_s)
    moved = any(
        step.phase is Phase.DIAGNOSING and step.commanded[:6].any() for step in read_episode(rig.recording()).steps
    )
    problems = ["it was commanded to move while it diagnosed"] if moved else []
    problems += [f"{lost} committed steps are not in the recording"] if lost else []
    problems += [f"a joint jumped {stop.jump_deg:.2f} degrees"] if stop.jump_deg > JUMP_DEG else []
    return Outcome(
        row=row, stop=stop, jump_deg=stop.jump_deg, lost=lost, phase=str(Phase.RECOVERING), ok=not problems,
        broken=True, note="; ".join(problems) or f"attempt {held_s:.2f} s after the alarm, by the probe",
    )  # fmt: skip


@contextmanager
def _endpoint(answer: Callable[[BaseHTTPRequestHandler], None] | None) -> Iterator[str]:
    """Serves on a loopback port; yields its root. Without an answer the port is closed again before it is used."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if answer is not None:
                answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the library's signature
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    if answer is None:
        server.server_close()
        yield url
        return
    thread = threading.Thread(target=server.serve_forever, name="misbehaving model", daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=2.0)

"""Signals, exceptions and forks in the middle of a run: no deadlock, the helpers come back, the answers are right.

Each case is a process of its own, with a limit on its time: a deadlock cannot be seen from inside.
"""

import os
import subprocess
import sys

import pytest

from latentbit.runtime.session.program import Helpers

from ...support import graphs

_BEGIN = f"""
import gc, os, signal, sys, threading, time
import numpy as np
from latentbit.runtime.errors import InputError
from latentbit.runtime.session import InferenceSession
from {graphs.__name__} import GraphMaker, chain
data = chain(channels=72, size=16).SerializeToString()
xs = [GraphMaker(seed).floats(1 + seed % 2, 72, 16, 16) for seed in range(2)]
truth = [InferenceSession(data).run(None, {{"input": x}})[0] for x in xs]
def right(session, which):
    return np.array_equal(session.run(None, {{"input": xs[which]}})[0], truth[which])
"""

_HANDLER = """
session, said = InferenceSession(data, **{options}), []
def handler(*_):
    said.append(right(session, len(said) % 2))
    signal.setitimer(signal.ITIMER_REAL, 0.0002 + 0.0001 * (len(said) % 20))
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001)
end, count = time.monotonic() + 60, 0
while len(said) < 200 and time.monotonic() < end:
    assert right(session, count % 2)
    count += 1
signal.signal(signal.SIGALRM, signal.SIG_IGN)
assert all(said) and len(said) >= 200, len(said)
"""

_EXCEPTION = """
class Stop(BaseException): pass
def stop(*_): raise Stop
session, stopped = InferenceSession(data, num_threads=2, share="always"), 0
right(session, 0)
signal.signal(signal.SIGALRM, stop)
end = time.monotonic() + 60
while stopped < 80 and time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0001 + 0.0002 * (stopped % 60))
        for count in range(100): assert right(session, count % 2)
    except AssertionError:
        raise
    except BaseException:  # Stop; or what numpy makes of it, where it strikes in the middle of a comparison
        stopped += 1
signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
assert stopped == 80, stopped
claim = session._helpers.claim()
assert claim is not None, "a run that was stopped has kept the helpers"
session._helpers.release(claim)
assert right(session, 0) and right(session, 1)
"""

_FORK = """
session, over = InferenceSession(data, **{options}), threading.Event()
other = InferenceSession(data)
def work():
    while not over.is_set(): right({busy}, 0)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
found = set()
for _ in range({times}):
    time.sleep(0.003)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if right({asked}, 1) else 1)
        except InputError as error:
            os._exit(7 if "open it in the new process" in str(error) else 8)
        except BaseException:
            os._exit(9)
    end = time.monotonic() + 20
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end: time.sleep(0.002)
    if done[0] == 0:
        os.kill(child, signal.SIGKILL); os.waitpid(child, 0); over.set(); sys.exit("a forked process hung")
    found.add(os.waitstatus_to_exitcode(done[1]))
over.set()
for thread in threads: thread.join()
assert {wanted}, found
assert right(session, 1)
"""


def process(code: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", _BEGIN + code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("options", [{}, {"num_threads": 2, "share": "always"}])
def test_a_signal_handler_runs_the_session_that_it_interrupts(options: dict[str, object]) -> None:
    process(_HANDLER.format(options=options))


@pytest.mark.timeout(120)
def test_an_exception_at_any_point_gives_the_helpers_back() -> None:
    process(_EXCEPTION)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("options", "wanted"), [({}, 0), ({"num_threads": 2}, 7), ({"num_threads": 2, "share": "never"}, 7)]
)
def test_a_forked_process_answers_or_refuses(options: dict[str, object], wanted: int) -> None:
    process(_FORK.format(options=options, busy="other", asked="session", times=30, wanted=f"found == {{{wanted}}}"))


@pytest.mark.timeout(120)
def test_a_fork_in_the_middle_of_another_thread_s_run_is_refused() -> None:
    # Between two runs of the others nobody is in the middle: such a child answers.
    process(_FORK.format(options={}, busy="session", asked="session", times=100, wanted="{7} <= found <= {0, 7}"))


@pytest.mark.timeout(120)
def test_a_forked_process_opens_the_file_again_though_its_parent_was_running_it() -> None:
    process(_FORK.format(options={}, busy="session", asked="InferenceSession(data)", times=30, wanted="found == {0}"))


def test_a_claim_ends_with_whoever_holds_it() -> None:
    helpers = Helpers(1)
    claim = helpers.claim()
    assert claim is not None
    assert helpers.claim() is None
    helpers.release(claim)
    lost = helpers.claim()
    assert lost is not None
    del lost  # as an exception between the claim and its use does
    again = helpers.claim()
    assert again is not None
    helpers.release(claim)  # of a run that is over: nothing of this one's
    assert helpers.claim() is None

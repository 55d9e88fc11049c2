"""Whole sweeps as a user starts them, left alone and killed."""

import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import optuna
import psutil
import pytest
from matplotlib.figure import Figure

from explorer import sweep
from explorer.analysis import summarise
from explorer.commands.settings import read_seconds
from explorer.commands.watching import Display
from explorer.errors import ExplorerError, ReportFailed
from explorer.storage.ledger import Ledger
from explorer.study.files import load_study
from explorer.sweeping import sweeping, views
from explorer.training import engine

STUDY = """
title = "Stripes"
space = "squeezenet"
preset = "cifar"
data = "{data}"
seeds = 3

[fixed]
base_e = 8
incr_e = 8
fires = 3
pools = [1]

[vary]
squeeze_ratio = [0.125, 0.25, 0.251, 0.5, 1.0]

[budget]
images = 192
epochs = {epochs}
validation = 60

[recipe]
batch_size = 32
warmup_images = 64
"""

# What a measurement says, as against when and how fast it was taken.
MEASURED = ["point", "seed", "key", "state", "reason", "accuracy", "accuracies", "train_losses"]


@pytest.fixture
def study(tmp_path, image_folder):
    """A folder with a study whose runs take a moment."""
    (tmp_path / "stripes.toml").write_text(STUDY.format(data=image_folder, epochs=1))
    return tmp_path


@pytest.fixture
def long_study(tmp_path, image_folder):
    """The same with runs that last long enough to be interrupted."""
    (tmp_path / "stripes.toml").write_text(STUDY.format(data=image_folder, epochs=6))
    return tmp_path


def command(folder, *arguments):
    return [sys.executable, "-m", "explorer", *arguments], {
        "cwd": folder,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }


def explorer(folder, *arguments):
    arguments, options = command(folder, *arguments)
    return subprocess.run(arguments, check=False, timeout=300, **options)


def stored(folder, name="stripes", storage="explorer.db"):
    try:
        return Ledger(folder / storage).studies.load(name)
    except Exception:  # noqa: BLE001 (not there yet)
        return None


def count_done(folder, name="stripes"):
    record = stored(folder, name)
    return 0 if record is None else int(record.runs["state"].eq("done").sum())


def wait_until(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def same_rows(first, second):
    assert first.runs[MEASURED].to_dict("records") == second.runs[MEASURED].to_dict("records")
    assert [bits.tolist() for bits in first.runs["correct"]] == [bits.tolist() for bits in second.runs["correct"]]
    first, second = summarise(first), summarise(second)
    assert first.to_json() == second.to_json()


def trials(folder, name="stripes"):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'explorer.db'}")
    found = optuna.load_study(study_name=name, storage=storage).get_trials()
    storage.remove_session()
    storage.engine.dispose()
    return sorted((trial.user_attrs["point"], trial.value, trial.params["squeeze_ratio"]) for trial in found)


CLAIM = """
[[claims]]
claim = "Accuracy falls below 0.25."
form = "falls"
over = "squeeze_ratio"
below = 0.25
source = "a guess"
"""


@pytest.mark.slow
def test_a_sweep_in_rounds_that_is_killed_gives_the_same_results(long_study):
    file = long_study / "stripes.toml"
    file.write_text(file.read_text() + CLAIM)
    words, name = ("sweep", "stripes.toml", "--until-decided"), "stripes@until-decided"
    undisturbed = explorer(long_study, *words, "--storage", "calm.db", "--reports", "calm")
    assert undisturbed.returncode == 0, undisturbed.stderr
    expected = stored(long_study, name, "calm.db")
    assert set(expected.runs["state"]) == {"done", "not needed"}
    for least in (1, 5):
        process = subprocess.Popen(*command(long_study, *words)[:1], **command(long_study)[1])
        wait_until(lambda least=least: count_done(long_study, name) >= least)
        everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.kill()
        process.communicate()
        psutil.wait_procs(everyone, timeout=20)
        assert "not needed" not in set(stored(long_study, name).runs["state"])
    again = explorer(long_study, *words)
    assert again.returncode == 0, again.stderr
    assert "Seeds were added where claims were undecided" in again.stdout
    assert stored(long_study, name).runs[MEASURED].to_json() == expected.runs[MEASURED].to_json()
    assert "0 runs to train" in explorer(long_study, *words).stdout


@pytest.mark.slow
def test_a_sweep_killed_twice_gives_the_same_results(long_study):
    undisturbed = explorer(long_study, "sweep", "stripes.toml", "--storage", "calm.db", "--reports", "calm")
    assert undisturbed.returncode == 0, undisturbed.stderr
    expected = stored(long_study, storage="calm.db")
    assert expected.runs["state"].eq("done").all()

    arguments, options = command(long_study, "sweep", "stripes.toml")
    process = subprocess.Popen(arguments, **options)
    wait_until(lambda: count_done(long_study) >= 1)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "explorer.training.worker" in child.cmdline()
    ]
    workers[0].kill()
    wait_until(lambda: count_done(long_study) >= 3)
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.kill()
    process.communicate()
    before = count_done(long_study)
    assert 3 <= before < len(expected.runs)
    psutil.wait_procs(everyone, timeout=20)
    assert not [left for left in everyone if left.is_running() and left.status() != psutil.STATUS_ZOMBIE]

    again = explorer(long_study, "sweep", "stripes.toml")
    assert again.returncode == 0, again.stderr
    assert f"{len(expected.runs) - before} runs to train, {before} stored already" in again.stdout
    same_rows(stored(long_study), expected)
    assert len(trials(long_study)) == 5  # four networks, and the point that one of them is merged with
    assert (long_study / "reports" / "stripes" / "report.html").is_file()


def interrupt(folder, signals, *arguments):
    """Start a command, send it signals once it trains, as a terminal does, and return its output."""
    arguments, options = command(folder, *arguments)
    process = subprocess.Popen(arguments, start_new_session=True, **options)
    wait_until(lambda: count_done(folder) >= 1)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    for number in signals:
        os.killpg(process.pid, number)  # to the workers too
        time.sleep(0.3)
    out, err = process.communicate(timeout=120)
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert process.returncode == 130, err
    return out, err.splitlines()


def test_ctrl_c_lets_running_runs_finish(long_study):
    out, err = interrupt(long_study, [signal.SIGINT], "sweep", "stripes.toml")
    done = count_done(long_study)
    assert 2 <= done < 12  # at least one was running
    assert err == [
        "explorer: stopping; press Ctrl-C again to stop now",
        f"explorer: stopped; {done} of 12 runs are done; the same command continues from there",
    ]
    assert "preparing" in out
    assert re.search(r"starting (a worker|\d+ workers)\n", out)
    assert f"{done}/12 done" in out


@pytest.mark.parametrize("signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM]], ids=["Ctrl-C twice", "SIGTERM"])
def test_a_second_ctrl_c_and_sigterm_stop_at_once(long_study, signals):
    _, err = interrupt(long_study, signals, "sweep", "stripes.toml", "--quiet")
    done = count_done(long_study)
    assert 1 <= done < 12
    assert err[-1] == f"explorer: stopped; {done} of 12 runs are done; the same command continues from there"
    assert err[:-1] == ["explorer: stopping; press Ctrl-C again to stop now"] * (len(signals) - 1)


def test_a_stopped_sweep_counts_runs_that_are_done_and_others_apart():
    run = SimpleNamespace(effort=1.0, network=SimpleNamespace(digest="0"), seed=0)
    display = Display(quiet=True)
    assert display.stopped() == "stopped before training"
    failed = SimpleNamespace(state="failed", accuracy=None)
    display.begin(SimpleNamespace(name="stripes"), [run] * 6, [failed] * 2, 2)
    for _ in range(5):
        display.ended(SimpleNamespace(run=run, state="crashed", row={"reason": "its worker died, once"}))
    again = "the same command continues from there"
    assert display.stopped() == f"stopped; 0 of 8 runs are done, 5 crashed, 2 failed; {again}"
    display.ended(SimpleNamespace(run=run, state="done", row={"accuracy": 0.5}))
    assert display.stopped() == f"stopped; 1 of 8 runs are done, 5 crashed, 2 failed; {again}"


def test_ctrl_c_while_the_data_are_made_stops_at_once(study, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(study / "cache"))
    arguments, options = command(study, "sweep", "squeeze_ratio")
    process = subprocess.Popen(arguments, env=os.environ | {"PYTHONUNBUFFERED": "1"}, **options)
    assert process.stdout.readline() == "preparing proxy data\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err in ("explorer: stopped before training\n", "explorer: stopped\n")  # the latter during an import


@pytest.mark.slow
def test_ctrl_c_stops_other_commands_with_one_line(study):
    explorer(study, "sweep", "stripes.toml", "--quick", "--workers", "1")
    arguments, options = command(study, "dashboard", "--port", "0")
    process = subprocess.Popen(arguments, env=os.environ | {"PYTHONUNBUFFERED": "1"}, **options)
    assert process.stdout.readline().startswith("dashboard on")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "explorer: stopped\n")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a bug"), RuntimeError("usetex")])
def test_a_report_that_fails_after_training_is_a_step_of_its_own(study, monkeypatch, capsys, error):
    from explorer.__main__ import main

    def fail(*_, **__):
        raise error

    monkeypatch.chdir(study)
    monkeypatch.setattr("explorer.api.reports.report", fail)
    assert main(["sweep", "stripes.toml", "--quick", "--reports", "here"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"explorer: the runs are stored, but not their report: {type(error).__name__}: {error}; "
        "retry with `python -m explorer report stripes@quick --reports here`"
    )
    with pytest.raises(ReportFailed) as raised:
        main(["sweep", "stripes.toml", "--quick", "--debug"])
    assert raised.value.__cause__ is error
    monkeypatch.undo()
    monkeypatch.chdir(study)
    assert main(["report", "stripes@quick", "--reports", "here"]) == 0


@pytest.mark.parametrize("text", ["0", "-1", "soon", "inf", "10 parsecs"])
def test_a_time_limit_is_a_time(study, monkeypatch, capsys, text):
    from explorer.__main__ import main

    monkeypatch.chdir(study)
    assert main(["sweep", "stripes.toml", "--run-timeout", text]) == 2
    assert f"--run-timeout {text}: give a positive number of seconds or a time such as" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5", 1.5), ("90s", 90), ("30 min", 1_800), ("2h", 7_200), ("2 Hours", 7_200)]
)
def test_time_limits_are_read(text, seconds):
    assert read_seconds(text) == seconds


def test_a_time_limit_from_python_is_checked_before_anything_is_made(study):
    with pytest.raises(ExplorerError, match="run_timeout = -1: a run's time limit must be a number of seconds above 0"):
        sweep(study / "stripes.toml", storage=study / "none.db", run_timeout=-1)
    assert not (study / "none.db").exists()


@pytest.mark.slow
def test_a_repeated_command_trains_nothing_and_studies_share_runs(study):
    first = explorer(study, "sweep", "stripes.toml")
    assert first.returncode == 0, first.stderr
    assert "12 runs to train" in first.stdout
    second = explorer(study, "sweep", "stripes.toml")
    assert "0 runs to train, 12 stored already" in second.stdout
    # Another study with some of the same runs takes them from the ledger.
    text = (study / "stripes.toml").read_text().replace("[0.125, 0.25, 0.251, 0.5, 1.0]", "[0.5, 0.75]")
    (study / "others.toml").write_text(text)
    third = explorer(study, "sweep", "others.toml")
    assert "3 runs to train, 3 stored already" in third.stdout
    # More seeds make another study, which shares the runs of the first.
    fourth = explorer(study, "sweep", "stripes.toml", "--seeds", "4")
    assert "stripes@seeds4: 4 runs to train, 12 stored already" in fourth.stdout
    assert {path.name for path in (study / "reports").iterdir()} == {
        "stripes",
        "others",
        "stripes@seeds4",
        "index.html",
        "methodology.html",
    }
    # The same name with other settings leaves the stored study alone.
    (study / "stripes.toml").write_text(text)
    fifth = explorer(study, "sweep", "stripes.toml")
    assert re.search(r"another study named stripes is stored; this one is stripes~\w+", fifth.stdout)
    assert "0 runs to train" in fifth.stdout
    assert len(stored(study).runs) == 12
    assert [(point, ratio) for point, _, ratio in trials(study)] == list(enumerate([0.125, 0.25, 0.251, 0.5, 1.0]))


def test_a_failed_run_is_in_the_report_and_is_not_tried_again(study):
    text = (study / "stripes.toml").read_text().replace("[recipe]", "[recipe]\nlearning_rate = 1e25")
    (study / "wild.toml").write_text(
        text.replace("0.125, 0.25, 0.251, 0.5, 1.0", "0.5").replace("seeds = 3", "seeds = 1")
    )
    first = explorer(study, "sweep", "wild.toml")
    assert first.returncode == 1
    assert "not finite" in first.stdout
    assert "not finite" in (study / "reports" / "wild" / "report.html").read_text()
    assert "0 runs to train, 1 stored already" in explorer(study, "sweep", "wild.toml").stdout


def test_quick_and_dry_run(study):
    quick = explorer(study, "sweep", "stripes.toml", "--quick", "--workers", "1")
    assert quick.returncode == 0, quick.stderr
    assert "stripes@quick: 4 runs to train" in quick.stdout
    dry = explorer(study, "sweep", "stripes.toml", "--dry-run", "--storage", "none.db")
    assert dry.returncode == 0, dry.stderr
    assert "5 points (4 planned, 1 merged), 4 distinct networks, 12 runs of 1 x 192 images" in dry.stdout
    assert "multiply-adds in total" in dry.stdout
    assert " on 2 workers" in dry.stdout or " on 1 workers" in dry.stdout
    assert not (study / "none.db").exists()


def test_studies_of_growing_budgets_are_trained_together_and_shown_while_they_run(study, monkeypatch):
    monkeypatch.chdir(study)
    short = load_study("stripes.toml", seeds=1)
    long = short.model_copy(update={"budget": short.budget.times(2)}).renamed(["x2"])
    shown = []

    def execute(jobs, *_, **__):
        while job := jobs.take():
            assert [run.budget for run in job] == [short.budget, long.budget]
            assert len({(run.network.digest, run.seed) for run in job}) == 1
            failed = {"state": "failed", "reason": "no", "host": {"name": "here"}}
            outcomes = [engine._outcome(run, failed) for run in job]
            jobs.store(outcomes)
            for outcome in outcomes:
                yield outcome
                shown.append([len(trials(study, named.name)) for named in (short, long)])

    monkeypatch.setattr(sweeping, "execute", execute)
    monkeypatch.setattr(views, "SHARE", 1.0)
    records = sweeping.run_studies([short, long])
    assert [record.runs["state"].tolist() for record in records] == [["failed"] * 4] * 2
    counts = np.array(shown)
    assert (np.diff(counts, axis=0) >= 0).all()
    assert counts[0].tolist() == [1, 0] or counts[0].tolist() == [2, 0]  # a merged point settles with its own
    assert counts[-1].tolist() == [5, 5]


def test_the_same_from_python(study, monkeypatch):
    import explorer as package

    monkeypatch.chdir(study)
    for _ in range(2):  # the module of the engine must not take the function's place
        frame = package.sweep("stripes.toml", workers=1, storage=study / "python.db")
    assert frame["runs"].tolist() == [3, 3, 3, 3, 3]
    assert frame["accuracy"].between(0.2, 1).all()
    package.plots.curve(frame, ax := Figure().subplots())
    assert len(ax.lines) == 1, "it joins the values of the one metaparameter"
    assert package.load_study("stripes.toml").name == "stripes"


def test_a_script_needs_no_guard_and_may_come_from_standard_input(study):
    script = "import explorer\nprint(explorer.sweep('stripes.toml', workers=1, quick=True)['runs'].sum())\n"
    _, options = command(study)
    ended = subprocess.run([sys.executable, "-"], input=script, check=False, timeout=300, **options)
    assert (ended.returncode, ended.stdout) == (0, "5\n"), ended.stderr


def test_a_keyboard_interrupt_reaches_python_and_leaves_no_process(long_study):
    """An interruption wherever it strikes, here while a row is shown."""
    from explorer import sweep

    class Watcher(sweeping.Watcher):
        def ended(self, _):
            raise KeyboardInterrupt

    before = psutil.Process().children()
    with pytest.raises(KeyboardInterrupt):
        sweep(long_study / "stripes.toml", storage=long_study / "explorer.db", reports=None, watcher=Watcher())
    # Python's own tracker of shared resources stays, and other tests may have started it.
    left = [child.cmdline() for child in psutil.Process().children() if child not in before]
    assert not [line for line in left if "resource_tracker" not in " ".join(line)]
    assert count_done(long_study) == 1


HANGING = """
import os, sys, time
print("importing", flush=True)
try:
    time.sleep(60)
except BaseException as stop:
    raise RuntimeError("another exception") from stop
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("typer", ["sweep", "stripes.toml", "--quick"]),
        ("pandas", ["report", "mine"]),
        ("numpy", ["price", "squeezenet"]),
    ],
)
def test_a_signal_in_the_middle_of_an_import_stops_at_once(study, module, words, number):
    """Whatever the import makes of a KeyboardInterrupt, there is one line and no traceback."""
    (study / f"{module}.py").write_text(HANGING)
    arguments, options = command(study, *words)
    environment = (options.pop("env", None) or os.environ) | {
        "PYTHONPATH": f"{study}:{os.environ.get('PYTHONPATH', '')}"
    }
    process = subprocess.Popen(arguments, env=environment, **options)
    assert "importing\n" in iter(process.stdout.readline, "")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "explorer: stopped\n")


@pytest.mark.slow
def test_commands_say_what_they_do_in_order(study):
    lines = explorer(study, "sweep", "stripes.toml", "--quick", "--seeds", "2").stdout.splitlines()
    said = ["preparing ", "stripes@quick-seeds2: ", "starting "]
    found = [next(place for place, line in enumerate(lines) if line.startswith(start)) for start in said]
    assert found == [0, *sorted(found[1:])]
    assert sum(line.startswith("preparing ") for line in lines) == 1
    assert "Trial run: 2 seeds and " in "\n".join(lines)
    assert not any("interval" in line or "learning rate" in line or "--epochs" in line for line in lines)
    dry = explorer(study, "sweep", "stripes.toml", "--dry-run").stdout.splitlines()
    assert dry[0].startswith("preparing ")
    assert dry[1] == "timing a few networks to estimate the time"

"""A sweep that is killed again and again ends with the same rows, and shows each point once."""

import subprocess
import time

import numpy as np
import optuna
import pytest
from test_sweep import STUDY, command, count_done, explorer, same_rows, stored

pytestmark = pytest.mark.slow


def test_random_kills_change_nothing(tmp_path, image_folder):
    text = STUDY.format(data=image_folder, epochs=2).replace("0.125, 0.25, 0.251, 0.5, 1.0", "0.25, 0.251, 0.5")
    (tmp_path / "stripes.toml").write_text(text)
    calm = explorer(tmp_path, "sweep", "stripes.toml", "--storage", "calm.db", "--reports", "calm")
    assert calm.returncode == 0, calm.stderr
    draw, kills = np.random.default_rng(0), 0
    while kills < 5:
        arguments, options = command(tmp_path, "sweep", "stripes.toml")
        before, process = count_done(tmp_path), subprocess.Popen(arguments, **options)
        # At any moment between the start and the first run that it stores, or a little later.
        patience = time.monotonic() + draw.uniform(2, 40)
        while time.monotonic() < patience and count_done(tmp_path) == before and process.poll() is None:
            time.sleep(0.1)
        time.sleep(draw.uniform(0, 0.5))
        ended = process.poll() is not None
        process.kill()
        process.communicate()
        if ended:
            break
        kills += 1
    assert kills > 1
    last = explorer(tmp_path, "sweep", "stripes.toml")
    assert last.returncode == 0, last.stderr
    same_rows(stored(tmp_path), stored(tmp_path, storage="calm.db"))
    shown = [trials_of(tmp_path / name) for name in ("explorer.db", "calm.db")]
    assert shown[0] == shown[1]


def trials_of(storage):
    """The trials of each Optuna study, without what depends on time."""
    rdb = optuna.storages.RDBStorage(f"sqlite:///{storage}")
    found = {
        study.study_name: sorted(
            (trial.user_attrs["point"], trial.state.name, trial.values, trial.intermediate_values)
            for trial in rdb.get_all_trials(study._study_id)
        )
        for study in rdb.get_all_studies()
    }
    rdb.remove_session()
    rdb.engine.dispose()
    return found

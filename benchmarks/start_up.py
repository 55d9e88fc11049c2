"""Time commands that should respond at once, as whole processes: median, range and the ratio to bare Python."""

import statistics
import subprocess
import sys
import time

RUNS = 9
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "explorer --help": ["-m", "explorer", "--help"],
    "explorer describe squeezenet": ["-m", "explorer", "describe", "squeezenet"],
}


def seconds(arguments: list[str]) -> float:
    """Return the wall time of one process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return time.perf_counter() - started


def main() -> None:
    """Run the commands alternately, so that drifts of the machine's speed affect all of them."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for arguments in COMMANDS.values():
        seconds(arguments)
    for _ in range(RUNS):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    bare = statistics.median(times["python -c pass"])
    for name, found in times.items():
        middle = statistics.median(found)
        extremes = f"{min(found):.3f} to {max(found):.3f}"
        print(f"{name:30} {middle:.3f} s ({extremes}, n = {RUNS}), {middle / bare:.1f} times bare")


if __name__ == "__main__":
    main()

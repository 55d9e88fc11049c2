"""Times commands that should answer at once, as whole processes; prints median and range, and the ratio to bare Python."""

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
    """Wall time of one process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return time.perf_counter() - started


def main() -> None:
    """Runs the commands in turn, so that a drift of the machine's speed meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for arguments in COMMANDS.values():
        seconds(arguments)
    for _ in range(RUNS):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    bare = statistics.median(times["python -c pass"])
    for name, found in times.items():
        middle = statistics.median(found)
        print(
            f"{name:30} {middle:.3f} s ({min(found):.3f} to {max(found):.3f}, n = {RUNS}), {middle / bare:.1f} times bare"
        )


if __name__ == "__main__":
    main()

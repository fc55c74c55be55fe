"""How long the app takes to answer: from the start of ``app.py`` to the first page, several times."""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def seconds_to_answer() -> float:
    """Seconds from the start of the app on a free port until it has served the page."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.perf_counter()
    app = subprocess.Popen([sys.executable, "app.py", "--port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while app.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    answer.read()
                    return time.perf_counter() - started
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise SystemExit(f"app.py ended with {app.returncode}")
    finally:
        app.terminate()
        app.wait()


def main() -> None:
    """Print the median and the slowest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    times = [seconds_to_answer() for _ in range(parser.parse_args().repeats)]
    print(f"first page: median {statistics.median(times):.1f} s, slowest {max(times):.1f} s of {len(times)}")


if __name__ == "__main__":
    main()

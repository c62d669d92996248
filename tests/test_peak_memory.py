from __future__ import annotations

import subprocess
import sys

import numpy as np

MIB = 2**20


def told_by(script):
    """Run a script in a process of its own, whose peak is not that of other tests."""
    tell = f"import numpy as np; from kormos_core.peak_memory import peak_memory_bytes; {script}"
    done = subprocess.run([sys.executable, "-c", tell], check=True, capture_output=True, text=True)
    return [int(number) for number in done.stdout.split()]


def test_the_peak_stays_when_memory_is_given_back():
    before, held, after = told_by(
        "before = peak_memory_bytes(); hog = np.ones(2**25); held = peak_memory_bytes(); "
        "del hog; print(before, held, peak_memory_bytes())"
    )

    assert held - before > 200 * MIB  # of 256
    assert abs(after - held) < 4 * MIB  # Linux counts in batches of pages


def test_the_peak_of_the_process_that_started_this_one_is_not_in_it():
    hog = np.ones(2**26)  # 512 MiB

    (told,) = told_by("print(peak_memory_bytes())")

    assert 5 * MIB < told < 400 * MIB < hog.nbytes

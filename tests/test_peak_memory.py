from __future__ import annotations

import subprocess
import sys

import numpy as np

from kormos_core.peak_memory import peak_memory_bytes

MIB = 2**20


def test_the_peak_stays_when_memory_is_given_back():
    before = peak_memory_bytes()
    hog = np.ones(2**25)  # 256 MiB
    held = peak_memory_bytes()

    del hog

    assert before < held - 200 * MIB
    assert abs(peak_memory_bytes() - held) < 4 * MIB  # Linux counts in batches of pages


def test_the_peak_of_the_process_that_started_this_one_is_not_in_it():
    hog = np.ones(2**26)  # 512 MiB
    tell = "from kormos_core.peak_memory import peak_memory_bytes; print(peak_memory_bytes())"

    told = subprocess.run([sys.executable, "-c", tell], check=True, capture_output=True, text=True)

    assert 5 * MIB < int(told.stdout) < 400 * MIB < hog.nbytes

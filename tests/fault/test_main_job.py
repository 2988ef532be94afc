"""The main job while everything under it is killed: are the numbers those of an undisturbed run?"""

import os
import sys

import harness
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
def test_renewals_survive_every_fault(work_folder, replicas):
    env = {"FLEETSEAL_BUILD": os.environ.get("FLEETSEAL_BUILD", str(harness.BUILD))}
    harness.run(
        *(sys.executable, harness.ROOT / "tests" / "fault" / "main-job"),
        *("--devices", 1000, "--replicas", replicas, "--folder", work_folder / "stack"),
        env=env,
        timeout=1500,
    )

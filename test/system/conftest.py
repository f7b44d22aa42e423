# SPDX-License-Identifier: Apache-2.0
"""QEMU guests on an xviod of their own, a new one for each test."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'lib'))

from guest import Copy, build_image  # noqa: E402
from lab import FULL, Lab  # noqa: E402

# An emulated guest makes and checks 4 MB of data a second: most of a test is that.
Copy.MB = 50 if FULL else 6


@pytest.fixture(scope='session', autouse=True)
def image():
    build_image()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Tell fixtures how their test went; when it failed, what daemon and guests said."""
    outcome = yield
    report = outcome.get_result()
    if report.when == 'call':
        item.failed = report.failed
        if report.failed:
            for lab in getattr(item, 'labs', ()):
                report.sections.append(('logs', lab.tails()))


@pytest.fixture
def labs(request):
    """Makes labs: labs(config) -> a started Lab. Each is checked and closed after the test."""
    made = request.node.labs = []
    request.node.failed = True         # until the test has said otherwise

    def make(config=None, **keys):
        lab = Lab(config, **keys)
        made.append(lab)
        lab.start()
        return lab
    error = None
    try:
        yield make
        if not request.node.failed:
            for lab in made:
                lab.check()
    finally:
        for lab in reversed(made):
            try:
                lab.close(failed=request.node.failed)
            except Exception as e:
                error = e
    if error:
        raise error


@pytest.fixture
def lab(labs):
    """One daemon without ports."""
    return labs()

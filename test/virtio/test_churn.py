# SPDX-License-Identifier: Apache-2.0
"""Flows come and go, 100,000 a second, beside traffic at 80 % of what was possible: nothing is lost.

The case `churn` of the bench, in short: bench/churn.c is xviod with a timer that adds and deletes flows.
"""

import os
import pathlib
import sys

from xvio import program

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'bench'))
import run  # noqa: E402


def test_flows_come_and_go_beside_traffic():
    case = run.Case('churn', topology='l2', flows=10000, rules=1000, churn=100000)
    build = pathlib.Path(program('xvio-load')).parents[1]
    row = run.Bench(str(build), True, False).once('xvio', case)
    print(row)
    assert row['mpps'] > 0 and row['offered_mpps'] > 0
    assert (row['loss'], row['reordered'], row['corrupt']) == (0, 0, 0)
    if not os.environ.get('SAN'):  # as many as the sanitizers allow
        assert row['churn'] > 0.95 * case.churn

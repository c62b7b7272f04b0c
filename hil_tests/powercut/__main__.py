"""`python -m hil_tests.powercut`: the long form, in as many pieces as one likes."""

import argparse
import math
import tempfile
import time
from pathlib import Path

from hil_tests.board.kernel import executable_memory
from hil_tests.powercut.campaign import SEED, run_campaign
from hil_tests.powercut.report import write_report
from hil_tests.powercut.results import read_results


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m hil_tests.powercut", description=__doc__)
    parser.add_argument("--cuts", type=int, default=1000, help="stop when so many are in the results")
    parser.add_argument("--results", type=Path, required=True, help="JSON lines; what is there is gone on with")
    parser.add_argument("--boards", type=int, default=2, help="boards at a time")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--work",
        type=Path,
        help="directory for cards and logs, by default in memory; kept after a fault",
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first chain")
    parser.add_argument("--report", type=Path, help="write the report of all results there")
    parser.add_argument("--also", type=Path, action="append", default=[], help="other results for the report")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no further chain after that")
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="preroll-cuts-", dir=executable_memory()))
    until_s = time.monotonic() + 60 * given.minutes
    run_campaign(
        work,
        given.results,
        boards=given.boards,
        cuts=given.cuts,
        seed=given.seed,
        first=given.first,
        until_s=until_s,
    )
    if given.report:
        also = [result for path in given.also for result in read_results(path)]
        write_report(given.report, [*read_results(given.results), *also])


if __name__ == "__main__":
    _main()

"""`preroll dock run`, as the target of a process that is forked from one which has imported everything."""

import faulthandler
import os
import sys

__all__ = ["PRELOADED", "run_agent"]

PRELOADED = ["preroll.cli", "preroll.commands.dock", "host.agent", "host.publish", "tests.system.agent_process"]


def run_agent(config: str, log: str) -> None:
    """Run the agent until it is ended; its words go to a file, SIGABRT adds where its threads are."""
    from preroll.cli import main

    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    faulthandler.enable(written)
    sys.argv = ["preroll", "dock", "run", "--config", config]
    main()

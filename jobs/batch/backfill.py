"""The backfill, for `spark-submit jobs/batch/backfill.py --from 2018-11-20`: the command `playhead backfill`."""

import typer

from playhead.cli.batch import backfill

if __name__ == "__main__":
    typer.run(backfill)

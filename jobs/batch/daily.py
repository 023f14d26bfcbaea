"""The daily views, for `spark-submit jobs/batch/daily.py --date 2018-11-30`: the command `playhead batch run`."""

import typer

from playhead.cli.batch import run

if __name__ == "__main__":
    typer.run(run)

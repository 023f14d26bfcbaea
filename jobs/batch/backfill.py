"""The backfill of the speed groups, for `spark-submit`: the command `playhead backfill`.

spark-submit --jars "$(echo jars/delta/*.jar | tr ' ' ,)" jobs/batch/backfill.py --from 2018-11-20 --home .playhead
"""

import sys

from playhead.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["backfill"]
    main()

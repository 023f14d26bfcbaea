"""The labels of a day, for `spark-submit`: the command `playhead batch labels`.

spark-submit --jars "$(echo jars/delta/*.jar | tr ' ' ,)" jobs/batch/labels.py --date 2018-11-30 --home .playhead
"""

import sys

from playhead.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["batch", "labels"]
    main()

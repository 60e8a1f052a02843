"""The program of a holder: `python -I -S __main__.py FOLDER`; what to run comes over descriptors (see `life`)."""

import sys

sys.path.append(__file__.rsplit("/", 4)[0])

from treadle.node.holder.life import main  # without site-packages it is not found before

main(sys.argv[1])

"""The folder of a clone, which Python started beside it takes for the package if both are called stf: it gives way."""

import importlib
import os
import sys

if __name__ == "stf":
    above, path = os.path.dirname(os.path.dirname(os.path.abspath(__file__))), list(sys.path)
    sys.path[:] = [entry for entry in path if os.path.abspath(entry) != above]
    del sys.modules[__name__]
    try:
        importlib.import_module(__name__)
    finally:
        sys.path[:] = path

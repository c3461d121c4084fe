"""Serves `pypto.language` in every Python of the environment, where no package that is installed has it.

Python reads `pypto_workbook.pth` as it starts, and imports this module from beside it (setup.py puts both there). It
costs nothing until somebody imports `pypto`. It is asked last, so that PyPTO itself comes first where it is installed.
"""

import sys


class Finder:
    """Hands over to the workbook's stand-in when `pypto` is first asked for."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "pypto":
            return None
        try:
            from helpers.interpret.pypto import language
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("helpers"):
                raise
            found = getattr(sys.modules.get("helpers"), "__file__", None)
            if found is None:  # the workbook's folder is gone
                return None
            raise ImportError(
                f"{name}: {found} hides the workbook's package 'helpers', which has pypto.language; rename that folder"
            ) from None
        sys.meta_path[:] = [f for f in sys.meta_path if f is not self]
        language.install()
        return next(filter(None, (f.find_spec(name, path, target) for f in sys.meta_path[-1:])), None)


sys.meta_path.append(Finder())

"""What pyproject.toml cannot say: two files go beside the installed packages, of an editable install too.

They make `import pypto.language` work in every Python of the environment; see helpers/startup.
"""

import sysconfig
from pathlib import Path

from setuptools import Distribution, setup


class WithData(Distribution):
    """An editable install leaves `data_files` out, unless it is told here that there are some (setuptools 77 to 80)."""

    def has_data(self) -> bool:
        return self.has_data_files()


site = Path(sysconfig.get_path("purelib")).relative_to(Path(sysconfig.get_path("data")))
files = ["helpers/startup/pypto_workbook.pth", "helpers/startup/_pypto_workbook.py"]
setup(distclass=WithData, data_files=[(str(site), files)])

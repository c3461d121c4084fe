"""The workbook's kernels. Importing this package makes `import pypto.language` work without PyPTO."""

from helpers.interpret.pypto import language

language.install()

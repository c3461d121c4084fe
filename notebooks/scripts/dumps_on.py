"""A driver with an option of debugging left on: what `workbook check` says about a script, see notebook 07."""

from golden import run_jit
from golden.mistakes import double, rows
from kernels.mistakes_attention import right_loop


def main(dump_passes: bool = True) -> None:
    """Run a kernel against its golden."""
    result = run_jit(right_loop, rows(), double, compile_cfg={"dump_passes": dump_passes})
    print(result)


if __name__ == "__main__":
    main()

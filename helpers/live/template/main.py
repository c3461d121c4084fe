if __name__ == "__main__":
    import __GOLDEN__ as golden_side
    from golden import run_jit

    allowed = golden_side.TOLERANCE
    for kernel in (naive, fused):
        result = run_jit(
            kernel, golden_side.specs(), golden_side.reference, rtol=allowed.rtol, atol=allowed.atol,
            compare_fn=golden_side.COMPARE_FN,
        )
        if not result.passed:
            raise SystemExit(result.error)

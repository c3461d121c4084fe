# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # __NAME__
#
# $$y_{r,c} = \frac{x_{r,c}}{\sqrt{\frac{1}{C}\sum_k x_{r,k}^2 + \epsilon}} \, w_c$$
#
# Two versions: `naive` writes a factor for each row to global memory and reads it again; `fused` keeps it on chip.

# %%
from __GOLDEN__ import COMPARE_FN, TOLERANCE, reference, specs
from helpers import plots, show
from helpers.profile import profile
from __KERNELS__ import fused, naive

from golden import run_jit

show.source(fused)

# %% [markdown]
# ## Against the golden

# %%
runs = {}
for kernel in (naive, fused):
    runs[kernel.name] = run_jit(
        kernel,
        specs(),
        reference,
        rtol=TOLERANCE.rtol,
        atol=TOLERANCE.atol,
        compare_fn=COMPARE_FN,
        quiet=True,
        runtime_cfg={"platform": "a2a3interp"},
    )
    print(kernel.name, "PASS" if runs[kernel.name].passed else runs[kernel.name].error)

# %%
last = runs["fused"]
plots.error_histogram({n: (last.outputs[n], last.expected[n]) for n in last.expected}, last.platform)

# %% [markdown]
# ## What fusion bought

# %%
print(show.table({name: plots.figures_of(r.trace) for name, r in runs.items()}))

# %%
plots.times({name: profile(r.trace) for name, r in runs.items()})

# %% [markdown]
# ## On the chip

# %%
plots.memory_map(last.trace)

# %% [markdown]
# ## Go on
#
# Edit a kernel, save, and see what it did: run the next cell in JupyterLab, or `workbook watch __WATCHED__` in a terminal.

# %%
# %load_ext helpers
# %live __WATCHED__

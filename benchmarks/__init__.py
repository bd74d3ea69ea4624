"""Measures every figure of docs/performance.md in one run: `make bench`.

The broker runs in `.venv-runtime`, with the dependencies of the sidecar's image and warm bytecode, as a process of its
own. STS runs in another process. Compared figures are measured in turn (A B A B …) on the same machine in the same run.
Because machines are noisy, the table has medians, also of the pairs' ratios, with minimum and maximum. Files are
published in a memory-backed directory, as in a pod. Figures that were not measured are not printed.

`runs` starts processes, `readings` reads /proc, and `rows` judges and formats. Each other module measures one subject.
"""

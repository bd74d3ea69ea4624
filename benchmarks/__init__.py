"""Every figure that the README quotes, measured in one run: `make bench`.

Rules: the broker is measured in `.venv-runtime` (the image's dependencies and no others, bytecode warm) as a process of
its own; STS runs in another process; what is compared is measured in turn (A B A B …) on the same machine in the same
run; told are the medians, of the pairs' ratios too, beside the least and the most, because machines are noisy. Files
are published on a memory-backed directory, as in a pod. A number that was not measured is not printed.

`runs` starts things, `readings` reads /proc, `rows` judges and prints; the other modules measure one subject each.
"""

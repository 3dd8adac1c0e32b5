"""The compiled part of the package, without which it works as well, but more slowly.

All else is in pyproject.toml, where extensions are still called experimental.
"""

import sys

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "tlcli.core.images._bilinear",
            ["tlcli/core/images/_bilinear.c"],
            # No compiler, or one that cannot compile it: the package is installed without.
            optional=True,
            # Whatever CFLAGS say, operations must not be fused: the bits would be others.
            extra_compile_args=[]
            if sys.platform == "win32"
            else ["-std=c99", "-O3", "-ffp-contract=off"],
        )
    ]
)

"""What pyproject.toml cannot hold: the optional compiled part, and the README with full links."""

import re
import sys
from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path(__file__).resolve().parent


def repository() -> str:
    """Return the address of the repository, as pyproject.toml names it."""
    project = (FOLDER / "pyproject.toml").read_text(encoding="utf-8")
    return re.search(r'^Repository = "(.*)"$', project, re.MULTILINE)[1]


def with_full_links(markdown: str) -> str:
    """Return a document whose relative links and images are addresses in the repository."""
    return re.sub(
        r"(!?)(\[[^\]]*\]\()(?!\w+:|#)",
        lambda link: f"{link[1]}{link[2]}{repository()}/{'raw' if link[1] else 'blob'}/main/",
        markdown,
    )


if __name__ == "__main__":
    setup(
        long_description=with_full_links((FOLDER / "README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
        ext_modules=[
            # Without it everything works, but more slowly.
            Extension(
                "tlcli.core.images._bilinear",
                ["tlcli/core/images/_bilinear.c"],
                # No compiler, or one that cannot compile it: tlcli is installed without it.
                optional=True,
                # Whatever CFLAGS contain, fused operations would change the bits of results.
                extra_compile_args=[]
                if sys.platform == "win32"
                # Nor may the wheel contain where it was built, as debugging information does.
                else ["-std=c99", "-O3", "-ffp-contract=off", "-g0"],
            )
        ],
    )

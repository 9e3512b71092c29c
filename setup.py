"""The parts of the package that setup.cfg cannot describe.

These are its packages, which include the folder zoo/ (`find:` cannot name it), and the README with
links that also work on PyPI.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

REPOSITORY = "gfkeras/gfkeras"


def readme() -> str:
    """Returns README.md with the addresses of its images and links on GitHub."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    images = f"https://raw.githubusercontent.com/{REPOSITORY}/main/"
    pages = f"https://github.com/{REPOSITORY}/blob/main/"
    text = re.sub(r"(!\[[^\]]*\]\()(?!\w+:|#)", rf"\g<1>{images}", text)
    return re.sub(r"(\]\()(?!\w+:|#)", rf"\g<1>{pages}", text)


setup(
    packages=[*find_packages(include=["gfkeras", "gfkeras.*"]), "gfkeras.zoo_data"],
    long_description=readme(),
    long_description_content_type="text/markdown",
)

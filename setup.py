"""The packages of the wheel: those in gfkeras/, and the folder zoo/, which `find:` cannot name."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["gfkeras", "gfkeras.*"]), "gfkeras.zoo_data"])

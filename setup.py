"""The native codec, built where there is a compiler; all else is in pyproject.toml."""

from setuptools import Extension, setup

NATIVE = Extension("wsservice.frames._native", ["wsservice/frames/_native.c"], optional=True)

setup(ext_modules=[NATIVE])

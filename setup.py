"""The native codec, built where there is a compiler; all else is in pyproject.toml."""

from setuptools import Extension, setup

NATIVE = Extension(
    "wsservice.protocol.frames._native", ["wsservice/protocol/frames/_native.c"], optional=True
)

setup(ext_modules=[NATIVE])

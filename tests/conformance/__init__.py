"""The Autobahn testsuite against the service as shipped, and against its client.

`python -m tests.conformance --help` says how; `make conformance` runs it all.
"""

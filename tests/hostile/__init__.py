"""Peers that mean harm, against twistd as a subprocess.

A `row` of the table of attacks is defined once, in the test of it: pytest runs it
shortened, and asserts what does not depend on how busy the machine is; `make
hostile` runs it in full, asserts the latencies too, and prints what was measured.
"""

"""Run one service in many processes, one for each CPU: `parent/` starts and feeds `child/`, and
`wire/` carries their messages.

It may import `service` and what lies below it.

The modules::

    child/   one worker: its service, ports and reports
    cpus.py  the number of CPUs that this process may use
    parent/  the parent: ports, workers, and the sums of their reports
    wire/    messages, connections and log lines between them
"""

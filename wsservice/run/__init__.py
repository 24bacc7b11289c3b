"""Start the service under twistd: options, signals, reloading and assembly.

It may import every other package.

The modules::

    assembly.py   the service of a configuration: one process, or a parent and its workers
    may.py        --may: what a user may do on a channel
    process.py    signals of the process: SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP
    reloading.py  settings, read again in all workers
    tap.py        twistd's face: Options -> Config, makeService
"""

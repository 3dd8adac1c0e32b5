"""The ``export`` command: its options, its one step, and what it prints.

`tlcli.cli` imports it when it is called, and `tlcli` its function for Python.
"""

"""The ``export`` command: its options and what it prints.

`tlcli.cli` alone imports it, when it is called.
"""

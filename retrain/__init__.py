"""The `retrain` command: its options, the steps of a retraining in their order, and the result.

`tlcli.cli` loads the command by name, and `tlcli` looks up `retrain.job` for Python programs; it
imports every room of `tlcli` below the commands.
"""

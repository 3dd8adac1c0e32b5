"""The small commands, and the options that several commands share.

`tlcli.cli` loads the commands by name, and `retrain` and `label` import the shared options; it
imports `tlcli.serve`, `tlcli.report`, `tlcli.backbones` and the rooms below them.
"""

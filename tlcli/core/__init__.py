"""What `retrain` and `label` share: one room for each step of the job, from images to files.

The rooms are documented in their own packages; each may import the steps before it, and the
commands, `tlcli.report`, `tlcli.serve` and `tlcli.backbones` may import all of them.
"""

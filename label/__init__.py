"""The `label` command: the images to label, the output formats, sorted copies and heat maps.

`tlcli.cli` loads the command by name, and nothing else imports it; it imports
`tlcli.core.classifier`, `tlcli.core.evaluation`, `tlcli.commands` and the rooms below them.
"""

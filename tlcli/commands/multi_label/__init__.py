"""What the commands print about graphs with several labels per image.

`tlcli.commands` alone imports it.
"""

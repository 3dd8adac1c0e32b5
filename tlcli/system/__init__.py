"""Files, folders, memory and facts of the machine, with no knowledge of images or networks.

Every room may import it; it imports only `tlcli.errors`, `tlcli.text` and the standard library.
"""

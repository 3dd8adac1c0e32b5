"""Downloads of backbones: Hub and Kaggle handles and HTTP.

Only `tlcli.backbones` imports it; it imports `tlcli.core.data`, which unpacks archives, and the
foundations.
"""

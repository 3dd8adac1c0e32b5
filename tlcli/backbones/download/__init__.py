"""Downloads of backbones: Hub and Kaggle handles, HTTP and archives.

Only `tlcli.backbones` imports it; it imports the foundations.
"""

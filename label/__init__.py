"""The label command and its job."""

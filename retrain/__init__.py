"""The retrain command and its job."""

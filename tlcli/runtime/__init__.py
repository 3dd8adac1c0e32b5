"""TensorFlow's session, native standard error, processors and the watchdog of long calls.

Every room above may import it; it imports `tlcli.system` and the modules that all may use.
"""

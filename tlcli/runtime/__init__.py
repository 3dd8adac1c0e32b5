"""TensorFlow's session, native standard error, processors, prefetching threads, the watchdog.

Every room above may import it; it imports `tlcli.system` and the modules that all may use.
"""

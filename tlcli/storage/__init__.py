"""Files on this machine, in buckets and on web servers: listed, read and written by location.

`tlcli.core` and everything above may import it; it imports `tlcli.runtime`, `tlcli.system` and
the foundations. It is the only room that imports fsspec and requests.
"""

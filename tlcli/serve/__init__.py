"""A local page to try a graph on, and TensorFlow Serving's REST API for it.

    tlcli/serve/model.py      one classifier: labels, scores and heat maps
    tlcli/serve/predict.py    the JSON of TensorFlow Serving's REST API
    tlcli/serve/guard.py      allowed hosts and origins, sizes and times of requests
    tlcli/serve/limits.py     the limits of requests, and errors with their HTTP status
    tlcli/serve/responses.py  the checks, headers and errors of every server
    tlcli/serve/threads.py    threads for what would hold up the event loop
    tlcli/serve/app.py        the routes
    tlcli/serve/page.py       the page
    tlcli/serve/server.py     the socket and the server

No image is written to disk or stored after its response. `tlcli.review` may import this room; it
imports `tlcli.report`, `tlcli.core` and the rooms below.
"""

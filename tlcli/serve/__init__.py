"""A local page to try a graph on, and the same over HTTP as TensorFlow Serving speaks it.

    tlcli/serve/model.py      one classifier, its labels, scores and heat maps, one image at a time
    tlcli/serve/predict.py    the JSON of TensorFlow Serving's REST API
    tlcli/serve/guard.py      who may ask, how much, and for how long
    tlcli/serve/app.py        the addresses
    tlcli/serve/page.py       the page
    tlcli/serve/server.py     the process

No image is written to disk or kept after its answer.
"""

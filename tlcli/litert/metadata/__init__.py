"""The signature and TFLITE_METADATA of LiteRT files, and the zip of labels at their end.

`tlcli.litert`, `tlcli.core.export` and `tlcli.core.model_spec` may import it; it imports the
checked tables of `tlcli.litert.tables`, and the foundations.
"""

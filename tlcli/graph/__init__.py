"""GraphDefs: messages, nodes, simplification passes, shapes, safety checks and bfloat16.

`tlcli.litert`, `tlcli.core` and `tlcli.backbones` may import it; it imports `tlcli.runtime` and
`tlcli.system`.
"""

"""Which backbone suits some images: the candidates, a sample of the images, and the comparison.

Commands and `retrain` may import it; it imports the rest of `tlcli.backbones` and rooms below.
"""

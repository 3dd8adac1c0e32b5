"""Fine-tuning: the last layers of a backbone, trained on together with the fitted final layer.

What retrains may import it; it imports the bottlenecks, the final layer and the foundations.
"""

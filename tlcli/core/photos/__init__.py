"""Findings about labelled photos: wrong labels, odd photos, copies, labels that betray themselves.

Pure functions of vectors, labels and small facts of each image. Reports and commands may import
it; it imports the cache of vectors, the decoding of images, the feature scaling and foundations.
"""

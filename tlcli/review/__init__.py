"""The `serve` command, and the page on which the findings of a check are gone through.

    tlcli/review/command.py   the options of `serve`: a graph to try, or photos to review
    tlcli/review/cards.py     findings as cards of photos
    tlcli/review/places.py    where a photo of a folder may be moved
    tlcli/review/checking.py  a check as the page needs it
    tlcli/review/session.py   what was decided; moves, undo, and checking again
    tlcli/review/app.py       the routes, and the key that they ask for
    tlcli/review/page.py      the page

It uses the steps of `tlcli.check`, so it stands above it. Only the command line imports it.
"""

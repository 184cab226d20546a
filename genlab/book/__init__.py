"""The online book: a preprocessor that turns notebooks into mdBook's chapters, and a build that checks the result."""


class BookError(Exception):
    """The book cannot be rendered whole; the message names the place and the reason."""


# Names the folder for images in the preprocessor's environment; the build copies it into the book that mdBook has made.
IMAGES = "GENLAB_BOOK_IMAGES"

"""The online book: a preprocessor that turns notebooks into mdBook's chapters, and a build that checks the result."""


class BookError(Exception):
    """The book cannot be rendered whole; the message names the place and the reason."""

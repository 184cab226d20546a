"""Exercises that answer back: `exercise`, `check`, `again`, `hint`, `solution`, `progress`, in notebooks and terminals.

Each exercise is one file, whole in itself: `genlab/exercises/ch05/e01_kl_term.py` is 05.1. It ends in
`EXERCISE = Exercise(…)`; `engine.Exercise` describes the fields.

To write one: copy a file to the next number of its chapter, say `ch05/e08_what_it_is_about.py`, change it, and run

    python -m genlab.exercises 05.8

in the project's folder until nothing is missing. It says in a line a check what is missing, and the remedy. `05` checks
a chapter, and a path a file that lies elsewhere. A new chapter is a new folder with an `__init__.py` of one line.

- `solution` is a plain module-level function. Its name, signature and docstring become the reader's stub, its body the
  worked solution, so it uses the names of the chapter's imports cell (torch, math, F, nn, …) and nothing of its file.
- `inputs(generator)` draws fresh arguments: small tensors with sizes that differ (5 examples, 3 dimensions), so that a
  sum over the wrong axis shows. The answer and the solution are compared on several such draws; with `gradient=True`
  the derivatives by floating-point arguments are compared too; arguments that were changed in place are noticed.
- `probes` are sentences with functions of the answer: limits, extremes, invariances that random arguments miss.
- `wrong` are mistakes by name, each with its message directly above the code that makes it: `Wrong(name, message,
  lambda …)`, or, where it takes several lines, `@mistake(name, message)` above a function, which then stands in `wrong`
  by its name. An answer that does what the mistake does, on every draw and probe, gets the message; so each must do
  something else than the solution and than the other mistakes.
- `right` are other correct ways (a loop for vectorised code, another formula), which must pass.

In the notebook an exercise is two cells, and a test compares the second with `Exercise.cell`:

    exercise("05.1")

    def kl_to_standard(mu, logvar):
        \"""KL(N(mu, diag exp(logvar)) ‖ N(0, I)) per example: (n, d) -> (n,).\"""
        return NotImplemented


    check("05.1", kl_to_standard)

`from genlab.exercises import check, exercise` stands in the imports cell.
"""

from genlab.exercises.engine import Exercise, Wrong, mistake
from genlab.exercises.show import again, check, exercise, hint, mended, progress, solution
from genlab.exercises.teach import grade

__all__ = [
    "Exercise",
    "Wrong",
    "again",
    "check",
    "exercise",
    "grade",
    "hint",
    "mended",
    "mistake",
    "progress",
    "solution",
]

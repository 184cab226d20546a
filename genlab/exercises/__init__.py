"""Exercises that answer back: `exercise`, `check`, `hint`, `solution` and `progress`, for notebooks and terminals.

How to write one. The module `genlab/exercises/chNN.py` of a chapter ends with `EXERCISES = [Exercise(…), …]`. All of an
exercise stands there, once; `ch05.py` is the example, and `engine.Exercise` describes the fields.

- `solution` is a plain module-level function. Its name, signature and docstring become the reader's stub, its body the
  worked solution, so it uses the names of the chapter's imports cell (torch, math, F, nn, …) and no private helpers.
- `inputs(generator)` draws fresh arguments: small tensors with sizes that differ (5 examples, 3 dimensions), so that a
  sum over the wrong axis shows. The answer and the solution are compared on three such draws; with `gradient=True` the
  derivatives by floating-point arguments are compared too; arguments that were changed in place are noticed.
- `probes` are sentences with functions of the answer: limits, extremes, invariances that random arguments miss.
- `wrong` are mistakes by name. An answer that does what the mistake does, on every draw and probe, gets its message;
  so each must do something else than the solution and than the other mistakes.
- `right` are other correct ways (a loop for vectorised code, another formula), which must pass.

In the notebook an exercise is two cells, and a test compares the second with `Exercise.cell`:

    exercise("05.1")

    def kl_to_standard(mu, logvar):
        \"""KL(N(mu, diag exp(logvar)) ‖ N(0, I)) per example: (n, d) -> (n,).\"""
        return NotImplemented


    check("05.1", kl_to_standard)

`from genlab.exercises import check, exercise` stands in the imports cell.
"""

from genlab.exercises.engine import Exercise, Wrong
from genlab.exercises.show import check, exercise, hint, mended, progress, solution
from genlab.exercises.teach import grade

__all__ = ["Exercise", "Wrong", "check", "exercise", "grade", "hint", "mended", "progress", "solution"]

"""Claims: a statement that fights its rival, and a verdict that is computed.

A claim sets an expectation against a *rival*, the value that the measurement would have had if the sentence were wrong.
The measurement is a list of independent samples (their mean and standard error are computed here), or a number with its
standard error and degrees of freedom, or a deterministic number with an argued tolerance. With t the two-sided Student
quantile at level 1e-4, the claim holds when

    |measured - theory| <= tolerance + t * standard_error,

or, for a bound or a side, when the whole interval lies on its right side, **and** the rival lies outside the interval,
its own error included. Where the rival is not rejected the claim is *undecided*. Its *resolution* is the half width of
the interval over |theory - rival|: below 1/2, a claim that holds rejects its rival.

    claim("chapter.subject", "what is stated", theory=1.0, samples=one_number_a_network, of="networks",
          rival=("the untrained network", one_number_an_untrained_network))

A *source* is a key of the bibliography, ``"poole2016exponential"``, or that key, a comma and the place,
``"poole2016exponential, eq. (5)"``: the key is what stands before the first comma (:func:`source_key`). A verdict on a
source quotes its words (``quote``). What is no claim, an identity or the agreement of two algorithms, is a
:func:`check`.

What no code can see: whether the samples are independent (one image, batch or start behind all of them), of the thing
that the sentence speaks of, and all that were drawn; whether they are symmetric enough for Student, who is wrong a
hundred times as often as he says about the lower side of log-normal ones (take logarithms); where a standard error, its
dof or a tolerance comes from; whether theory, bound and rival were there before the run; whether the rival is one that
somebody could have believed, for any measurement, however blurred, agrees with a theory whose rival is far away; what
the source says, in which setting, and to how many digits; whether the data that a claim ``requires`` were ever there;
and whether a hypothesis was put up to be knocked down.

A claim shows itself as a card, and leaves its numbers as JSON in the metadata of the output (``MIME``).
"""

from deepdynamics.claims import card
from deepdynamics.claims.checks import Check, check
from deepdynamics.claims.duel import MIME, Claim, ClaimError, claim
from deepdynamics.claims.measurement import LEVEL, Rival
from deepdynamics.claims.numbers import glue, percent, with_error
from deepdynamics.claims.rules import VERDICTS, source_key

__all__ = [
    "LEVEL",
    "MIME",
    "VERDICTS",
    "Check",
    "Claim",
    "ClaimError",
    "Rival",
    "card",
    "check",
    "claim",
    "glue",
    "percent",
    "source_key",
    "with_error",
]

"""Calls five functions with the generated Python client.

usage: client.py URL, with the client's package `calls_client` on the path
"""

import builtins
import sys

from calls_client import Client
from calls_client.types import Unset

# openapi-python-client 0.29.1 names this type in operations with several bodies without importing it.
builtins.Unset = Unset

from calls_client.api.functions import call_add, call_csv_stats, call_mirrors, call_pi_estimate, get_exponential
from calls_client.models import (
    AddInput,
    CsvStatsContentNumbers,
    CsvStatsErrorBadDelimiter,
    CsvStatsSummary,
    CsvStatsTable,
    ExponentialEstimate,
    MirrorsAnswer,
    MirrorsInput,
    PiEstimateEstimate,
    PiEstimateTally,
)
from calls_client.models.mirrors_answer_colour import MirrorsAnswerColour

# The answer's number is an integer, so that no digit is lost.
LARGE = 2**53 + 1

MIRRORED = {
    "yes": True, "tiny": -1, "small": -2, "medium": -3, "large": -LARGE,
    "tiny-unsigned": 1, "small-unsigned": 2, "medium-unsigned": 3, "large-unsigned": LARGE,
    "single": 0.5, "double": "Infinity", "letter": "\u00e9", "text": "text", "bytes": "AAE=",
    "colour": "deep-green", "rights": ["read"], "shapes": ["point", {"circle": 1.5}],
    "maybe": None, "nested-maybe": {"some": "4"}, "outcome": {"err": "late"}, "bare-outcome": {"ok": None},
    "pair": ["one", [[1, 2]]],
}

client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True)

# A record with options, and an answer with variants.
summary = call_csv_stats.sync(client=client, body=CsvStatsTable(csv="a;b\n1;x\n2;", delimiter=";"))
assert isinstance(summary, CsvStatsSummary), summary
numbers, text = summary.columns
assert isinstance(numbers.content, CsvStatsContentNumbers), numbers
assert (summary.rows, numbers.name, numbers.content.numbers.mean, text.missing) == (2, "a", 1.5, 1), summary

# A variant as the function's own error.
refused = call_csv_stats.sync_detailed(client=client, body=CsvStatsTable(csv="a", delimiter="\u00e9"))
assert refused.status_code == 422, refused
assert isinstance(refused.parsed, CsvStatsErrorBadDelimiter), refused
assert refused.parsed.bad_delimiter == "\u00e9", refused

# A list of records.
tallies = [PiEstimateTally(inside=3, trials=4), PiEstimateTally(inside="4", trials=4)]
estimate = call_pi_estimate.sync(client=client, body=tallies)
assert isinstance(estimate, PiEstimateEstimate), estimate
assert (estimate.value, estimate.trials) == (3.5, 8), estimate

# An option as a parameter of a query: present, and absent.
assert isinstance(two := get_exponential.sync(client=client, x=1.0, terms=2), ExponentialEstimate), two
assert isinstance(many := get_exponential.sync(client=client, x=1.0), ExponentialEstimate), many
assert two.value == 2.0 and many.terms_used > 10, (two, many)

# A result: the value, and the error.
assert call_add.sync(client=client, body=AddInput(a=LARGE, b=1)) == LARGE + 1
overflow = call_add.sync_detailed(client=client, body=AddInput(a=2**63 - 1, b=1))
assert overflow.status_code == 422 and "64 bits" in str(overflow.parsed), overflow

# Every type, among them an enum.
mirrored = call_mirrors.sync(client=client, body=MirrorsInput.from_dict(MIRRORED))
assert isinstance(mirrored, MirrorsAnswer), mirrored
assert mirrored.colour == MirrorsAnswerColour.DEEP_GREEN, mirrored
assert mirrored.to_dict() == MIRRORED, mirrored

print("the generated Python client called five functions")

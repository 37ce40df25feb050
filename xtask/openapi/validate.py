"""Validates an OpenAPI document and checks that it contains the functions.

usage: validate.py DOCUMENT FUNCTIONS
"""

import json
import sys

from openapi_spec_validator import validate

with open(sys.argv[1]) as file:
    document = json.load(file)
validate(document)
calls = [path for path in document["paths"] if path.startswith("/f/")]
if len(calls) != int(sys.argv[2]):
    sys.exit(f"the document contains {len(calls)} functions instead of {sys.argv[2]}")
print(f"{sys.argv[1]} is valid, with {len(calls)} functions")

"""Validates the OpenAPI document of a server and checks that it contains the functions.

usage: validate_openapi.py URL TOKEN_FILE FUNCTIONS_MIN
"""

import json
import sys
import urllib.request

from openapi_spec_validator import validate

server, token, functions_min = sys.argv[1], open(sys.argv[2]).read().strip(), int(sys.argv[3])
request = urllib.request.Request(f"{server}/openapi.json", headers={"Authorization": f"Bearer {token}"})
with urllib.request.urlopen(request) as response:
    document = json.load(response)
validate(document)
calls = [path for path in document["paths"] if path.startswith("/f/")]
if len(calls) < functions_min:
    sys.exit(f"the document contains only {len(calls)} of {functions_min} functions")
print(f"the OpenAPI document is valid, with {len(calls)} functions")

"""What /openapi.json says an answer is like."""

import json

from endpoint import SOURCE

DESCRIBED = json.loads((SOURCE / "supervisor" / "http" / "openapi.json").read_text())["components"]["schemas"]
KINDS = {"integer": int, "number": (int, float), "string": str, "boolean": bool, "array": list, "object": dict,
         "null": type(None)}


def check(value, schema, where="it"):
    """Holds a value to a schema, and an object to having every member of it and no other."""
    if "$ref" in schema:
        schema = DESCRIBED[schema["$ref"].rsplit("/", 1)[1]]
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    assert not kinds or any(isinstance(value, KINDS[kind]) and not (isinstance(value, bool) and kind != "boolean")
                            for kind in kinds), (where, value)
    assert value in schema.get("enum", [value]), (where, value)
    if isinstance(value, list):
        for number, item in enumerate(value):
            check(item, schema["items"], f"{where}[{number}]")
    if isinstance(value, dict) and "properties" in schema:
        assert set(value) == set(schema["properties"]), where
        for name, item in value.items():
            check(item, schema["properties"][name], f"{where}.{name}")

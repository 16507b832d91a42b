"""Checks a job's input against a schema of the form that RunPod's documentation has."""

import json


def validate(raw_input, schema):
    """{"validated_input": …} with defaults filled in, or {"errors": [text, …]}.

    A rule of `schema` is a dict: `type`, `required`, and where wanted `default` and `constraints`, a function of the value.
    """
    errors = ["Unexpected input. %s is not a valid input option." % key for key in raw_input if key not in schema]
    _parse_rules(schema, errors)
    result = dict(raw_input)
    for key, rules in schema.items():
        _fill_in(key, rules, raw_input, result, errors)
    for key, rules in schema.items():
        _check(key, rules, result, errors)
    return {"errors": errors} if errors else {"validated_input": result}


def _parse_rules(schema, errors):
    """A rule may be JSON text."""
    for key, rules in schema.items():
        if isinstance(rules, dict):
            continue
        try:
            schema[key] = json.loads(rules)
        except ValueError:
            errors.append("Schema error, %s is not a dictionary." % key)


def _fill_in(key, rules, raw_input, result, errors):
    if "type" not in rules:
        errors.append("Schema error, missing type for %s." % key)
    if "required" not in rules:
        errors.append("%s is a required input." % key)
    elif key not in raw_input:
        if rules["required"]:
            errors.append("%s is a required input." % key)
        elif "default" in rules:
            result[key] = rules["default"]
        else:
            errors.append("Schema error, missing default value for %s." % key)


def _check(key, rules, result, errors):
    if key in result and "type" in rules:
        if rules["type"] is float and type(result[key]) in (int, float):
            result[key] = float(result[key])
        # A default of another type than the rule's allows values of its own type.
        as_default = "default" in rules and isinstance(result[key], type(rules["default"]))
        if not as_default and not isinstance(result[key], rules["type"]):
            errors.append("%s should be %s type, not %s." % (key, rules["type"], type(result[key])))
            if "constraints" not in rules:
                return
    if "constraints" in rules and not rules["constraints"](result.get(key)):
        errors.append("%s does not meet the constraints." % key)

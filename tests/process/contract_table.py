"""What a plugin must not do, and the sentence that says so: one table for the engine (test_engine_contract.py) and for
the fake host on a PostgreSQL (test_engine_contract_fake.py), as both keep the promises of sluice/plugin.h alike.

A row is (handler of the plugin chaos, data of its event, a part of the sentence).
"""

# mode → what its dead letter says. Each inserts a row with the statement whose answer it reads.
READINGS = {
    "sql_int_as_text": "called get_text() for column 0, which has another type",
    "sql_null_int_as_text": "called get_text() for column 0, which has another type",
    "sql_name_as_text": "called get_text() for column 0, which has another type",
    "sql_uuid_as_text": "called get_text() for column 0, which has another type",
    "sql_int_as_double": "called get_double() for column 0, which has another type",
    "sql_numeric_as_double": "called get_double() for column 0, which has another type",
    "sql_numeric_as_int": "called get_int64() for column 0, which has another type",
    "sql_text_as_int": "called get_int64() for column 0, which has another type",
    "sql_local_time_as_int": "called get_int64() for column 0, which has another type",
    "sql_xid_as_int": "called get_int64() for column 0, which has another type",
    "sql_row_too_far": "called get_int64() for row 1, column 0 of an answer of 1 rows and 1 columns",
    "sql_column_too_far": "called get_int64() for row 0, column 1 of an answer of 1 rows and 1 columns",
    "sql_null_too_far": "called is_null() for row 1, column 0 of an answer of 1 rows and 1 columns",
    "sql_text_too_far": "called get_text() for row 0, column 1 of an answer of 1 rows and 1 columns",
}
# What set_text(), set_int64() and set_json() are called with, and how a sentence shows it.
VALUES = {
    "text": '"x"',
    "integer": "7",
    "fraction": "7.5",
    "huge": "9223372036854775808",
    "true": "true",
    "null": "null",
    "object": '{"a":1}',
    "array": "[1]",
}
# The field that is declared of each type, and which of the values it does not take.
SETS = {
    "note": ("text", ("integer", "fraction", "huge", "true", "object", "array")),
    "number": ("int64", ("text", "fraction", "huge", "true", "object", "array")),
    "ratio": ("double", ("text", "true", "object", "array")),
    "flag": ("bool", ("text", "integer", "fraction", "huge", "object", "array")),
    "blob": ("json", ()),
}
GOOD_READINGS = [
    "sql_int_as_int",
    "sql_time_as_int",
    "sql_real_as_double",
    "sql_char_as_text",
    "sql_null",
]

FEW_PARAMS = "bind message supplies 1 parameters"  # a failed statement, in PostgreSQL's words
NO_NAME = "called set_int64() without a field name of 1..128 bytes"
UNDECLARED = "which it does not declare in its `sets`"
FORM = "a parameter $1 that has no valid form and type"
BY_INDEX = ("outcome", "retry", "reject", "set_text", "set_int64", "set_json", "set_double", "set_bool", "reply")

CELLS = [("act_sql", {"mode": mode}, words) for mode, words in READINGS.items()]
FIELDS = [("act_sql", {"mode": "undeclared_set"}, "set field 'surprise', " + UNDECLARED)]
FIELDS += [("act_sql", {"mode": "name_length", "n": n}, UNDECLARED) for n in (1, 128)]
FIELDS += [
    ("act_sql", {"mode": f"set_{value}_as_{field}"}, f"set field '{field}' to {text}; its `sets` declare {wrong[0]}")
    for field, wrong in SETS.items()
    for value, text in VALUES.items()
    if value in wrong[1]
]
FIELDS += [
    ("act_sql", {"mode": "set_double_elsewhere"}, "set field 'note' to 1.5; its `sets` declare text"),
    ("act_sql", {"mode": "set_bool_elsewhere"}, "set field 'number' to true; its `sets` declare int64"),
]
QUERIES = [
    ("act_sql", {"mode": "sql_params", "n": 65}, "with 65 parameters; the most is 64"),
    ("act_sql", {"mode": "sql_bad_offset"}, FORM),
    ("act_sql", {"mode": "sql_no_value"}, FORM),
    ("act_sql", {"mode": "sql_no_statement"}, "with no statement"),
]
WITHOUT_STORE = [("act", {"mode": "sql_ok"}, "query() without having declared uses_store")]
PLACES = [("act_sql", {"mode": "bad_index", "path": name}, f"called {name}() for event ") for name in BY_INDEX]
PLACES += [
    ("act_sql", {"mode": "bad_index", "path": "set_text of too much"}, "called set_text() for event "),
    ("act_sql", {"mode": "bad_outcome_index"}, "gave outcome 77; it declares 2"),
    ("act_sql", {"mode": "bad_add"}, "added outcome 77; it declares 2"),
    ("act_sql", {"mode": "added_outcome"}, "called outcome() for event "),
    ("act_sql", {"mode": "name_length", "n": 0}, NO_NAME),
    ("act_sql", {"mode": "name_length", "n": -1}, NO_NAME),
    ("act_sql", {"mode": "name_length", "n": 129}, NO_NAME),
    ("act_sql", {"mode": "reply"}, "replied 200; a request's handler replies 200..599, others do not"),
    ("act_sql", {"mode": "no_outcome"}, "returned without an outcome for this event"),
]
NO_VALUES = [
    ("act_sql", {"mode": "invalid_utf8"}, "set field 'note' to what is no valid JSON or UTF-8"),
    ("act_sql", {"mode": "invalid_json"}, "set field 'blob' to what is no valid JSON or UTF-8"),
    ("act_sql", {"mode": "set_infinite"}, "set field 'ratio' to -inf, which is no number in JSON"),
    ("act_sql", {"mode": "set_nan"}, "set field 'ratio' to nan, which is no number in JSON"),
    ("act_sql", {"mode": "set_bool_as", "n": 2}, "set field 'flag' to the bool 2, expected 0 or 1"),
    ("act_sql", {"mode": "huge_set", "n": 65535}, "set field 'note' to 65537 bytes; the most is 65536"),
    ("act_sql", {"mode": "huge_set", "n": 9000000}, "set field 'note' to 9000002 bytes; the most is 65536"),
    ("act_sql", {"mode": "set_controls", "n": 20000}, "set field 'note' to 120002 bytes; the most is 65536"),
]
REQUESTS = [
    ("ask", {"mode": "sql_int_as_text"}, READINGS["sql_int_as_text"]),
    ("ask", {"mode": "sql_row_too_far"}, READINGS["sql_row_too_far"]),
    ("ask", {"mode": "no_reply"}, "returned without a reply"),
    ("ask", {"mode": "bad_reply"}, "replied with what is no valid JSON"),
    ("ask", {"mode": "bad_status"}, "replied 99;"),
    ("ask", {"mode": "bad_outcome_index"}, "gave outcome 77"),
]
ALL = CELLS + FIELDS + QUERIES + WITHOUT_STORE + PLACES + NO_VALUES + REQUESTS

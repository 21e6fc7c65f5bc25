"""Keys in a user's source: everything else stays as it was written."""

from __future__ import annotations

import ast

import pytest

from metaxy_dagster.cli.retrofit.source import with_keys, with_pass

KEYS = {"metaxy/feature": "a/b", "metaxy/id_columns": ["id"]}
DICT = """{
    "metaxy/feature": "a/b",
    "metaxy/id_columns": ["id"],
}"""
BLOCK = DICT.replace("\n", "\n    ")
FORMS = {
    "bare": ("@asset\ndef a(): ...\n", f"@asset(\n    metadata={BLOCK},\n)\ndef a(): ...\n"),
    "called": (
        "@dg.asset()\ndef a(): ...\n",
        f"@dg.asset(\n    metadata={BLOCK},\n)\ndef a(): ...\n",
    ),
    "graph": (
        "@graph_asset\ndef a(): ...\n",
        f"@graph_asset(\n    metadata={BLOCK},\n)\ndef a(): ...\n",
    ),
    "one line": (
        '@dg.asset(group_name="g")  # why\ndef a(): ...\n',
        f'@dg.asset(group_name="g", metadata={DICT})  # why\ndef a(): ...\n',
    ),
    "lines": (
        '@dg.asset(\n    group_name="g",  # why\n    # more\n)\ndef a(): ...\n',
        (
            '@dg.asset(\n    group_name="g",  # why\n    # more\n'
            f"    metadata={BLOCK},\n)\ndef a(): ...\n"
        ),
    ),
    "no last comma": (
        '@dg.asset(\n    group_name="g"\n)\ndef a(): ...\n',
        f'@dg.asset(\n    group_name="g",\n    metadata={BLOCK},\n)\ndef a(): ...\n',
    ),
    "no last comma, a comment": (
        '@dg.asset(\n    group_name="g"  # why\n)\ndef a(): ...\n',
        f'@dg.asset(\n    group_name="g",  # why\n    metadata={BLOCK},\n)\ndef a(): ...\n',
    ),
    "metadata in a line": (
        '@dg.asset(metadata={"x": 1})\ndef a(): ...\n',
        (
            '@dg.asset(metadata={"x": 1, "metaxy/feature": "a/b", "metaxy/id_columns": ["id"]})\n'
            "def a(): ...\n"
        ),
    ),
    "metadata in lines": (
        '@dg.asset(\n    metadata={\n        "x": 1,  # why\n    },\n)\ndef a(): ...\n',
        (
            '@dg.asset(\n    metadata={\n        "x": 1,  # why\n        "metaxy/feature": "a/b",\n'
            '        "metaxy/id_columns": ["id"],\n    },\n)\ndef a(): ...\n'
        ),
    ),
    "metadata in lines, no last comma": (
        '@dg.asset(\n    metadata={\n        "x": 1  # why\n    }\n)\ndef a(): ...\n',
        (
            '@dg.asset(\n    metadata={\n        "x": 1,  # why\n        "metaxy/feature": "a/b",\n'
            '        "metaxy/id_columns": ["id"],\n    }\n)\ndef a(): ...\n'
        ),
    ),
    "empty metadata": (
        "@dg.asset(metadata={})\ndef a(): ...\n",
        f"@dg.asset(metadata={DICT})\ndef a(): ...\n",
    ),
    "none": (
        "@dg.asset(metadata=None)\ndef a(): ...\n",
        f"@dg.asset(metadata={DICT})\ndef a(): ...\n",
    ),
    "computed metadata": (
        "@dg.asset(metadata=META)\ndef a(): ...\n",
        (
            '@dg.asset(metadata={**META, "metaxy/feature": "a/b", "metaxy/id_columns": ["id"]})\n'
            "def a(): ...\n"
        ),
    ),
    "a key that is there": (
        '@dg.asset(metadata={"metaxy/feature": "mine"})\ndef a(): ...\n',
        (
            '@dg.asset(metadata={"metaxy/feature": "mine", "metaxy/id_columns": ["id"]})\n'
            "def a(): ...\n"
        ),
    ),
    "several decorators": (
        "@retrying\n@dg.asset\n@logged\ndef a(): ...\n",
        f"@retrying\n@dg.asset(\n    metadata={BLOCK},\n)\n@logged\ndef a(): ...\n",
    ),
    "async": (
        "@dg.asset\nasync def a(): ...\n",
        f"@dg.asset(\n    metadata={BLOCK},\n)\nasync def a(): ...\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), FORMS.values(), ids=FORMS)
def test_keys_go_into_the_decorator_and_nothing_else_changes(before: str, after: str) -> None:
    around = (
        "# -*- coding: utf-8 -*-\nX = 1   # kept\n\n\n",
        "\n\ndef other( ): # as it was\n  pass",
    )
    found = with_keys(around[0] + before + around[1], {(5, "a"): KEYS})
    assert found.source == around[0] + after + around[1]
    assert found.missed == ()
    ast.parse(found.source)


def test_a_function_in_a_function_is_indented_as_it_is() -> None:
    before = "def make():\n  @dg.asset(\n      group_name='g'\n  )\n  def a(): ...\n  return a\n"
    found = with_keys(before, {(2, "a"): KEYS}).source
    assert found == (
        "def make():\n  @dg.asset(\n      group_name='g',\n      metadata={\n"
        '          "metaxy/feature": "a/b",\n          "metaxy/id_columns": ["id"],\n      },\n'
        "  )\n  def a(): ...\n  return a\n"
    )


@pytest.mark.parametrize(
    "source",
    ["@dg.multi_asset(specs=[])\ndef a(): ...\n", "@mine\ndef a(): ...\n", "def a(): ...\n", ""],
)
def test_what_takes_no_keys_is_told(source: str) -> None:
    assert with_keys(source, {(1, "a"): KEYS}) == type(with_keys("", {}))(source, ((1, "a"),))


PASSES = {
    "assigned": (
        "import dagster as dg\n\ndefs = dg.Definitions()\n",
        (
            "import dagster as dg\nimport metaxy_dagster as mxd\n\ndefs = dg.Definitions()\n"
            "defs = mxd.metaxify_definitions(defs)\n"
        ),
    ),
    "with a text and a later import": (
        (
            '"""Text."""\nimport os\nfrom x import y\n\nA = 1\nimport z\n'
            "defs: D = D(\n    a=1,\n)  # end\n"
        ),
        (
            '"""Text."""\nimport os\nfrom x import y\n'
            "import metaxy_dagster as mxd\n\nA = 1\nimport z\n"
            "defs: D = D(\n    a=1,\n)  # end\ndefs = mxd.metaxify_definitions(defs)\n"
        ),
    ),
    "no import": (
        "'text'\ndefs = make()\n",
        (
            "'text'\nimport metaxy_dagster as mxd\ndefs = make()\n"
            "defs = mxd.metaxify_definitions(defs)\n"
        ),
    ),
    "a function": (
        "import dagster as dg\n\n\n@dg.definitions\ndef defs():\n    return dg.Definitions()\n",
        (
            "import dagster as dg\nimport metaxy_dagster as mxd\n\n\n@mxd.metaxify_definitions\n"
            "@dg.definitions\ndef defs():\n    return dg.Definitions()\n"
        ),
    ),
    "the last of several": (
        "import dagster as dg\ndefs = a\ndefs = b\n",
        (
            "import dagster as dg\nimport metaxy_dagster as mxd\ndefs = a\ndefs = b\n"
            "defs = mxd.metaxify_definitions(defs)\n"
        ),
    ),
}


@pytest.mark.parametrize(("before", "after"), PASSES.values(), ids=PASSES)
def test_the_pass_is_called_where_the_definitions_are(before: str, after: str) -> None:
    assert with_pass(before, "defs") == after


@pytest.mark.parametrize("source", ["from x import defs\n", "if A:\n    defs = 1\n", "defs: D\n"])
def test_definitions_that_are_made_elsewhere_are_left(source: str) -> None:
    assert with_pass(source, "defs") is None

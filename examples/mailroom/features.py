"""What is known of each scan, as classes: fields are versioned separately, columns are typed."""

from pydantic import Field

import metaxy_dagster as mxd

BY_DAY = mxd.LineageRelationship.aggregation(on=["day"])


class Scan(
    mxd.BaseFeature,
    spec=mxd.FeatureSpec(
        "mail/scans",
        id_columns=["scan"],
        fields=[
            mxd.FieldSpec("image", columns=["pixels"]),
            mxd.FieldSpec("origin", columns=["office", "day"]),
        ],
    ),
):
    """One handwritten digit, 8 by 8 pixels, as it came from the scanner."""

    scan: int = Field(description="number of the scan")
    day: str = Field(description="day on which it was scanned")
    office: str = Field(description="post office that it came from")
    pixels: list[float] = Field(description="64 intensities, 0 to 16")


class Profile(
    mxd.BaseFeature,
    spec=mxd.FeatureSpec(
        "mail/profiles",
        id_columns=["scan"],
        fields=[
            mxd.FieldSpec("profile", deps=[mxd.FieldDep(Scan, fields=["image"])]),
        ],
        deps=[Scan],
    ),
):
    """The ink of a scan, row by row and column by column."""

    scan: int = Field(description="number of the scan")
    day: str = Field(description="day on which it was scanned")
    ink: float = Field(description="sum of all intensities")
    profile: list[float] = Field(description="share of the ink in 8 rows and 8 columns")


class Reading(
    mxd.BaseFeature,
    spec=mxd.FeatureSpec(
        "mail/readings",
        id_columns=["scan"],
        fields=[mxd.FieldSpec("digit", code_version="1")],
        deps=[Profile],
    ),
):
    """The digit that the program takes a scan for."""

    scan: int = Field(description="number of the scan")
    day: str = Field(description="day on which it was scanned")
    digit: int = Field(description="the digit whose mean profile is nearest")
    margin: float = Field(description="how much nearer it is than the second")


class Typed(mxd.BaseFeature, spec=mxd.FeatureSpec("mail/typed", id_columns=["scan"])):
    """The digit that somebody at the typing desk saw."""

    scan: int = Field(description="number of the scan")
    typed: int = Field(description="the digit that was typed in")


class Verdict(
    mxd.BaseFeature,
    spec=mxd.FeatureSpec("mail/verdicts", id_columns=["scan"], deps=[Reading, Typed]),
):
    """Whether program and people agree on a scan."""

    scan: int = Field(description="number of the scan")
    day: str = Field(description="day on which it was scanned")
    agreed: bool = Field(description="whether both saw the same digit")


class Day(
    mxd.BaseFeature,
    spec=mxd.FeatureSpec(
        "mail/days",
        id_columns=["day"],
        deps=[mxd.FeatureDep(Verdict, lineage=BY_DAY)],
    ),
):
    """How well the program read on one day."""

    day: str = Field(description="the day")
    scans: int = Field(description="scans with a verdict")
    agreed: float = Field(description="share on which program and people agree")

"""A classifier over the features, and a report for people."""

from typing import Any

import dagster as dg
import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from .workspace import Workspace

MOMENTS = ["ink", "row", "column", "row_spread", "column_spread", "slant"]


@dg.asset(
    group_name="model",
    kinds={"scikitlearn"},
    description="Accuracy of a linear classifier on a quarter of the images, held back.",
)
def model(
    image_features: pl.DataFrame, embeddings: pl.DataFrame, label_onehot: pl.DataFrame
) -> dict[str, Any]:
    table = (
        image_features.select("sample_id", "gradients", *MOMENTS)
        .join(embeddings.select("sample_id", "embedding"), on="sample_id")
        .join(label_onehot.select("sample_id", "^is_.*$"), on="sample_id")
        .sort("sample_id")
    )
    inputs = np.hstack(
        [
            table.select(MOMENTS).to_numpy(),
            np.array(table["gradients"].to_list()),
            np.array(table["embedding"].to_list()),
        ]
    )
    labels = table.select(f"is_{digit}" for digit in range(10)).to_numpy().argmax(axis=1)
    x_train, x_test, y_train, y_test = train_test_split(
        inputs, labels, test_size=0.25, random_state=0, stratify=labels
    )
    scaler = StandardScaler().fit(x_train)
    classifier = LogisticRegression(max_iter=300).fit(scaler.transform(x_train), y_train)
    predicted = classifier.predict(scaler.transform(x_test))
    return {
        "images": table.height,
        "accuracy": float(accuracy_score(y_test, predicted)),
        "confusion": confusion_matrix(y_test, predicted).tolist(),
    }


@dg.asset(
    group_name="model",
    kinds={"markdown"},
    description="What the model gets right and wrong, for people.",
)
def report(
    workspace: Workspace, model: dict[str, Any], strokes: pl.DataFrame, prototypes: pl.DataFrame
) -> dg.MaterializeResult:
    leaning = dict(strokes.group_by("leaning").len().sort("leaning").iter_rows())
    confusion = np.array(model["confusion"])
    lines = [
        "# Digits",
        "",
        f"{model['images']} images; {model['accuracy']:.1%} of those held back are recognised.",
        f"Digits that lean: {', '.join(f'{n} {way}' for way, n in leaning.items())}.",
        "",
        "| digit | images | recognised |",
        "| --- | --- | --- |",
    ]
    for label, images in prototypes.sort("label").select("label", "images").iter_rows():
        lines.append(
            f"| {label} | {images} | {confusion[label, label]} of {sum(confusion[label])} |"
        )
    workspace.report.parent.mkdir(parents=True, exist_ok=True)
    workspace.report.write_text("\n".join(lines) + "\n")
    return dg.MaterializeResult(
        metadata={
            "accuracy": model["accuracy"],
            "report": dg.MetadataValue.path(workspace.report),
        }
    )

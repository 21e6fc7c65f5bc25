"""Embeddings and models: graphs of ops, shared ops, training with config."""

import dagster as dg
import pandas as pd


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1), tags={"gpu": "1"})
def embed(frames: pd.DataFrame) -> pd.DataFrame:
    return frames[["frame_id"]].assign(vector=frames["path"].str.len().astype(float))


@dg.op(config_schema={"scale": dg.Field(float, default_value=1.0)})
def normalise(context: dg.OpExecutionContext, vectors: pd.DataFrame) -> pd.DataFrame:
    return vectors.assign(vector=vectors["vector"] * context.op_config["scale"])


@dg.op(out=dg.Out(io_manager_key="pickles"))
def describe(vectors: pd.DataFrame) -> dict[str, int]:
    return {"rows": len(vectors)}


@dg.op(out={"train": dg.Out(), "test": dg.Out()})
def split(vectors: pd.DataFrame):
    yield dg.Output(vectors.iloc[::2], "train")
    yield dg.Output(vectors.iloc[1::2], "test")


@dg.graph
def cleaned(frames: pd.DataFrame) -> pd.DataFrame:
    """Used by two assets under two names."""
    return normalise.alias("scale_vectors")(embed(frames))


@dg.graph_asset(
    group_name="embeddings",
    tags={"team": "vision"},
    # The retrofit.
    metadata={
        "metaxy/feature": "vision/embeddings",
        "metaxy/id_columns": ["frame_id"],
        "metaxy/deps": ["vision/frames", "vision/quality"],
        "metaxy/input": "increment",
    },
)
def embeddings(frames: pd.DataFrame) -> pd.DataFrame:
    return cleaned.alias("first_pass")(frames)


@dg.graph_asset(group_name="embeddings")
def embedding_stats(frames: pd.DataFrame) -> dict[str, int]:
    return describe(cleaned(frames))


@dg.graph_multi_asset(
    outs={"train_set": dg.AssetOut(), "test_set": dg.AssetOut()}, group_name="training"
)
def sets(embeddings: pd.DataFrame):
    train, test = split(embeddings)
    return {"train_set": train, "test_set": test}


class TrainConfig(dg.Config):
    """Hyperparameters."""

    epochs: int = 1
    learning_rate: float = 0.1


@dg.asset(
    group_name="training",
    pool="gpu",
    io_manager_key="pickles",
    owners=["ann@example.com"],
    code_version="model-7",
)
def model(config: TrainConfig, train_set: pd.DataFrame) -> dict[str, float]:
    return {"weight": config.epochs * config.learning_rate * float(train_set["vector"].sum())}


@dg.asset(
    group_name="training",
    code_version="score-2",
    metadata={
        "metaxy/feature": "vision/predictions",
        "metaxy/id_columns": ["frame_id"],
        "metaxy/fields": {"score": {"code_version": "2"}},
        "metaxy/deps": ["vision/embeddings", {"feature": "other/tags", "optional": True}],
        "metaxy/input": "increment",
    },
)
def predictions(embeddings: pd.DataFrame, model: dict[str, float]) -> pd.DataFrame:
    return embeddings[["frame_id"]].assign(score=embeddings["vector"] * model["weight"])


@dg.asset(group_name="training", deps=[model], ins={"test_set": dg.AssetIn()})
def metrics(test_set: pd.DataFrame, predictions: pd.DataFrame) -> float:
    return float(len(test_set.merge(predictions, on="frame_id")))


ALL = [embeddings, embedding_stats, sets, model, predictions, metrics]

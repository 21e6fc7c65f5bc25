"""The quick start: two features, three assets, and Dagster runs them: ``dg dev -f defs.py``.

Each asset asks the store what is to be computed, as in the Metaxy documentation. With the pass,
plain functions that take and return frames need not ask: see the README.
"""

import dagster as dg
import narwhals as nw
import polars as pl

import metaxy_dagster as mxd


# The upstream feature. A class names what matters to it; samples may have more columns.
class AudioEmbeddings(
    mxd.BaseFeature,
    spec=mxd.FeatureSpec(
        key="audio/embeddings",
        id_columns=["audio_id"],
        fields=["embedding"],
    ),
):
    audio_id: str


# The downstream feature, computed from it.
class AudioClusters(
    mxd.BaseFeature,
    spec=mxd.FeatureSpec(
        key="audio/clusters",
        id_columns=["audio_id"],
        deps=[AudioEmbeddings],
    ),
):
    audio_id: str
    mean: float
    std: float


@mxd.metaxify
@dg.asset(
    metadata={"metaxy/feature": "audio/embeddings"},
    io_manager_key="metaxy_io_manager",
)
def audio_embeddings(store: dg.ResourceParam[mxd.MetadataStore]):
    # What there is to embed, and a hash that changes whenever the recording does.
    samples = pl.DataFrame(
        {
            "audio_id": ["a1", "a2", "a3"],
            "metaxy_provenance_by_field": [
                {"embedding": "hash1"},
                {"embedding": "hash2"},
                {"embedding": "hash3"},
            ],
        }
    )
    with store:
        increment = store.resolve_update("audio/embeddings", samples=samples)
    pending = increment.pending.collect().to_polars()
    # Here the embeddings are computed; what is known of them goes into columns.
    return pending.with_columns(
        path="/embeddings/" + pl.col("audio_id") + ".npy", mean=pl.lit(0.5), std=pl.lit(0.1)
    )


@mxd.metaxify
@dg.asset(
    metadata={"metaxy/feature": "audio/clusters"},
    io_manager_key="metaxy_io_manager",
)
def audio_clusters(store: dg.ResourceParam[mxd.MetadataStore]):
    with store:
        update = store.resolve_update(AudioClusters)
    pending = update.pending.collect().to_polars()
    return pending.with_columns(cluster_id=pl.col("audio_id").str.slice(1).cast(pl.Int64) % 2)


@dg.asset(ins={"clusters": dg.AssetIn(key=["audio", "clusters"])})
def cluster_report(clusters: nw.LazyFrame):
    df = clusters.collect().to_polars()
    return {"total_clusters": df.select("cluster_id").n_unique()}


store = mxd.MetaxyStoreFromConfigResource(name="dev")
metaxy_io_manager = mxd.MetaxyIOManager(store=store)


@dg.definitions
def definitions():
    mxd.init()  # loads metaxy.toml, and the modules of features that it names

    return dg.Definitions(
        assets=[audio_embeddings, audio_clusters, cluster_report],
        resources={"store": store, "metaxy_io_manager": metaxy_io_manager},
    )
